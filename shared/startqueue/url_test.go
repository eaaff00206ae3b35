package startqueue_test

import (
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/startqueue"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"https://sqs.eu-central-1.amazonaws.com/111122223333/wafleet-starts":   true,
		"https://vpce-0a-b.sqs.eu-central-1.vpce.amazonaws.com/111122223333/q": true,
		"https://sqs.cn-north-1.amazonaws.com.cn/111122223333/q":               true,
		"http://127.0.0.1:9324/000000000000/q":                                 true,
		"http://[::1]:9324/000000000000/q":                                     true,
		"http://localhost:9324/000000000000/q":                                 true,
		"http://sqs.us-east-1.localhost:4566/000000000000/q":                   true,
		"http://sqs.eu-central-1.amazonaws.com/111122223333/q":                 false,
		"http://10.0.0.1/111122223333/q":                                       false,
		"http://localhost.example.com/111122223333/q":                          false,
		"https://sqs.eu-central-1.amazonaws.com/111122223333/q.fifo":           false,
		"https://sqs.eu-central-1.amazonaws.com/111122223333":                  false,
		"https://sqs.eu-central-1.amazonaws.com/q":                             false,
		"https://user:hidden@sqs.eu-central-1.amazonaws.com/111122223333/q":    false,
		"https://sqs.eu-central-1.amazonaws.com/111122223333/q?x=hidden":       false,
		"arn:aws:sqs:eu-central-1:111122223333:q":                              false,
		"wafleet-starts": false, "": false, "https://": false, "%": false,
	} {
		err := startqueue.CheckURL(url)
		if (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "must be the URL of a standard SQS queue")) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestTheRegionIsTheQueues(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	for url, region := range map[string]string{
		"https://sqs.eu-central-1.amazonaws.com/111122223333/q":              "eu-central-1",
		"https://sqs-fips.us-east-2.amazonaws.com/111122223333/q":            "us-east-2",
		"https://vpce-0a-b.sqs.ap-south-1.vpce.amazonaws.com/111122223333/q": "ap-south-1",
		"http://127.0.0.1:9324/000000000000/q":                               "us-east-1",
	} {
		opened, err := startqueue.Open(t.Context(), url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if o := opened.Client().Options(); o.Region != region || !strings.HasPrefix(url, *o.BaseEndpoint+"/") {
			t.Errorf("%s: region %s, endpoint %s", url, o.Region, *o.BaseEndpoint)
		}
	}
	if _, err := startqueue.Open(t.Context(), "https://queue.example.com/111122223333/q"); err == nil || !strings.Contains(err.Error(), "AWS_REGION is missing") {
		t.Errorf("%v", err)
	}
	t.Setenv("AWS_REGION", "eu-west-1")
	t.Setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")
	opened, err := startqueue.Open(t.Context(), "https://queue.example.com/111122223333/q")
	if err != nil {
		t.Fatal(err)
	}
	if o := opened.Client().Options(); o.Region != "eu-west-1" || *o.BaseEndpoint != "http://127.0.0.1:1" {
		t.Errorf("region %s, endpoint %s", o.Region, *o.BaseEndpoint)
	}
	if _, err := startqueue.Open(t.Context(), "nonsense"); err == nil {
		t.Errorf("%v", err)
	}
}
