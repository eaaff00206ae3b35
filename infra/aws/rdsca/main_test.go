package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const committed = "../rds.pem"

// bundle reads the committed file as clients do: whatever stands between the
// certificates is skipped.
func bundle(t *testing.T) map[string]*x509.Certificate {
	t.Helper()
	rest, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*x509.Certificate{}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			t.Fatalf("a block %s: %v", block.Type, err)
		}
		if found[name(c)] != nil {
			t.Errorf("%s comes twice", name(c))
		}
		found[name(c)] = c
	}
}

func TestTheBundleIsComplete(t *testing.T) {
	t.Parallel()
	found := bundle(t)
	for _, region := range []string{
		"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1",
		"eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
		"ap-east-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
		"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "af-south-1", "me-central-1", "me-south-1",
	} {
		for _, kind := range []string{"RSA2048 G1", "RSA4096 G1", "ECC384 G1"} {
			if name := fmt.Sprintf("Amazon RDS %s Root CA %s", region, kind); found[name] == nil {
				t.Errorf("%s is missing", name)
			}
		}
	}
	for n := range 4 { // of the proxies
		if name := fmt.Sprintf("Amazon Root CA %d", n+1); found[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// A root is its own issuer, may issue, and is good for another year: somebody has
// to have the time to replace it.
func TestTheBundleHoldsRootsOnly(t *testing.T) {
	t.Parallel()
	nextYear := time.Now().AddDate(1, 0, 0)
	for name, c := range bundle(t) {
		if !c.IsCA || !c.BasicConstraintsValid || c.KeyUsage&x509.KeyUsageCertSign == 0 {
			t.Errorf("%s may not issue certificates", name)
		}
		if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
			t.Errorf("%s did not sign itself: %v", name, err)
		}
		if nextYear.After(c.NotAfter) {
			t.Errorf("%s ends on %v: make rds-ca", name, c.NotAfter)
		}
		if !strings.Contains(c.Subject.String(), "Amazon") && !strings.Contains(c.Subject.String(), "Starfield") {
			t.Errorf("%s is not of Amazon", name)
		}
	}
}

// What it makes of its own result is the same again.
func TestTheBundleIsWhatTheProgramWrites(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	_, from, _ := strings.Cut(string(want), "taken from ")
	from, _, _ = strings.Cut(from, ".\n")
	var got bytes.Buffer
	if err := run(&got, from, []string{committed}, time.Now()); err != nil || got.String() != string(want) {
		t.Errorf("%v, and %d bytes, want %d", err, got.Len(), len(want))
	}
}

func TestJavaScriptIsRead(t *testing.T) {
	t.Parallel()
	var all []*x509.Certificate
	for _, c := range bundle(t) {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *x509.Certificate) int { return strings.Compare(name(a), name(b)) })
	var script strings.Builder
	for _, c := range append(all[:2], all[0]) {
		for line := range strings.Lines(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))) {
			fmt.Fprintf(&script, "        '%s\\n' +\n", strings.TrimSpace(line))
		}
		script.WriteString("        '',\n")
	}
	found, err := certificatesIn(script.String())
	if err != nil || len(found) != 3 || !found[0].Equal(all[0]) {
		t.Fatalf("%d certificates, %v", len(found), err)
	}
	if chosen := choose(found, time.Now()); len(chosen) != 2 {
		t.Errorf("%d are chosen", len(chosen))
	}
	if chosen := choose(found, all[1].NotAfter.Add(time.Hour)); len(chosen) != 1 {
		t.Errorf("%d are chosen where one has expired", len(chosen))
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.js")
	if err := os.WriteFile(broken, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, files := range [][]string{nil, {broken}, {"main.go", "missing"}, {"main_test.go"}} {
		if err := run(&out, "x", files, time.Now()); err == nil {
			t.Errorf("%q: no error", files)
		}
	}
	if run(&out, "", []string{committed}, time.Now()) == nil || out.Len() != 0 {
		t.Errorf("written: %s", &out)
	}
}
