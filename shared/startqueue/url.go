package startqueue

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// place is where a queue is.
type place struct {
	url      string
	endpoint string // of the service
	region   string // empty: the URL does not say
}

var (
	// queuePath is account and name; a name that ends in .fifo has a dot.
	queuePath = regexp.MustCompile(`^/[0-9]{12}/[A-Za-z0-9_-]{1,80}$`)
	// awsHost is a public one, or that of an interface endpoint of a VPC.
	awsHost = regexp.MustCompile(`(?:^|\.)sqs(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?$`)
)

// CheckURL returns what is wrong with the URL of a queue, for programs that look
// at their whole environment before they begin. It does not repeat the URL.
func CheckURL(queueURL string) error {
	_, err := parseURL(queueURL)
	return err
}

func parseURL(queueURL string) (place, error) {
	u, err := url.Parse(queueURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return place{}, errURL
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return place{}, errURL
	case !queuePath.MatchString(u.Path):
		return place{}, errURL
	}
	p := place{url: queueURL, endpoint: u.Scheme + "://" + u.Host}
	if match := awsHost.FindStringSubmatch(u.Hostname()); match != nil {
		p.region = match[1]
	} else if isLoopback(u.Hostname()) {
		p.region = loopbackRegion
	}
	return p, nil
}

var errURL = errors.New("must be the URL of a standard SQS queue, such as https://sqs.eu-central-1.amazonaws.com/111122223333/wafleet-starts, with https unless it is on loopback")

// loopbackRegion signs calls to a queue on this machine, which is in no region.
const loopbackRegion = "us-east-1"

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
