package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// versioned is a body that has an ETag, of what version returns.
type versioned interface{ version() any }

// setETag names the version that the caller sees. body is the encoded answer.
// Only a success shows a version of anything.
func setETag(c *call, status int, of versioned, body []byte) error {
	if status >= http.StatusMultipleChoices {
		return nil
	}
	if _, whole := of.(resource); !whole {
		var err error
		if body, err = encode(of.version()); err != nil {
			return err
		}
	}
	c.w.Header().Set("ETag", etagOf(body))
	return nil
}

// etagOf is weak: the same version may travel compressed or not. 128 bits are
// enough, as nobody gains by making two versions look alike.
func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// unchanged reports whether the caller has this version already, RFC 9110
// section 13.1.2.
func (c *call) unchanged(status int) bool {
	condition := c.r.Header["If-None-Match"]
	if condition == nil || status != http.StatusOK || c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return false
	}
	etag := c.w.Header().Get("ETag")
	return etag != "" && matchesAny(strings.Join(condition, ","), etag)
}

// matchesAny reports whether a list of entity tags, or "*", has one that weakly
// equals etag. What follows something that is no tag is not read.
func matchesAny(list, etag string) bool {
	if strings.Trim(list, " \t") == "*" {
		return true
	}
	wanted := strings.TrimPrefix(etag, "W/")
	for {
		list = strings.TrimPrefix(strings.TrimLeft(list, " \t,"), "W/")
		if !strings.HasPrefix(list, `"`) {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if list[:end+2] == wanted {
			return true
		}
		list = strings.TrimLeft(list[end+2:], " \t")
		if !strings.HasPrefix(list, ",") {
			return false
		}
	}
}
