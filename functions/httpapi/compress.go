package httpapi

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"strings"
	"sync"
)

// minCompressed is in bytes. What is smaller fits one packet anyway.
const minCompressed = 1 << 10

// maxPooled bounds the buffers that wait for the next answer: a list of a
// thousand sessions comes seldom.
const maxPooled = 256 << 10

// isCompressible leaves out what is compressed already, as images are.
func isCompressible(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	switch kind = strings.TrimSpace(kind); kind {
	case "application/json", "application/yaml", "application/javascript":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+yaml")
}

// acceptsGzip reads Accept-Encoding, RFC 9110 section 12.5.3. What gzip itself
// is given counts for more than what "*" is.
func acceptsGzip(values []string) bool {
	others := false
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			coding, parameters, _ := strings.Cut(item, ";")
			switch coding = strings.TrimSpace(coding); {
			case strings.EqualFold(coding, "gzip") || strings.EqualFold(coding, "x-gzip"):
				return isWanted(parameters)
			case coding == "*":
				others = isWanted(parameters)
			}
		}
	}
	return others
}

// isWanted reports whether a quality is above zero; 1 is what none means.
func isWanted(parameters string) bool {
	name, value, given := strings.Cut(parameters, "=")
	if !given || !strings.EqualFold(strings.TrimSpace(name), "q") {
		return true
	}
	quality, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err == nil && quality > 0 && quality <= 1
}

// zipper is a writer and where it writes to.
type zipper struct {
	writer *gzip.Writer
	buffer bytes.Buffer
}

// zippers is shared, as a writer has some hundred KiB of tables.
var zippers = sync.Pool{New: func() any {
	z := &zipper{}
	z.writer, _ = gzip.NewWriterLevel(&z.buffer, gzip.BestSpeed) // the level is valid
	return z
}}

// compress returns a gzipped body, which is valid until release.
func compress(body []byte) (zipped []byte, release func()) {
	z := zippers.Get().(*zipper)
	z.buffer.Reset()
	z.writer.Reset(&z.buffer)
	_, _ = z.writer.Write(body) // a buffer takes everything
	_ = z.writer.Close()
	return z.buffer.Bytes(), func() {
		if z.buffer.Cap() > maxPooled {
			z.buffer = bytes.Buffer{}
		}
		zippers.Put(z)
	}
}
