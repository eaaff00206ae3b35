package contract

import (
	"net/url"
	"slices"
	"strings"
)

// path is a path of the document and its item.
type path struct {
	segments []string
	subtree  bool // stands for everything below its segments too
	at       place
}

func pathsOf(list place) []path {
	var paths []path
	for template := range list.object() {
		p := path{segments: split(template), at: list.child(template)}
		if p.at.object()[subtree] == true {
			p.subtree = true
			p.segments = p.segments[:len(p.segments)-1]
		}
		paths = append(paths, p)
	}
	return paths
}

func split(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == '/' })
}

// find returns the paths that fit, the most concrete first: an operation of one
// path may have another's words as a parameter.
func (d *document) find(u *url.URL) []path {
	segments := split(u.EscapedPath())
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil {
			return nil
		}
		segments[i] = decoded
	}
	var found []path
	for _, p := range d.paths {
		if p.fits(segments) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b path) int { return slices.Compare(a.ranks(len(segments)), b.ranks(len(segments))) })
	return found
}

func (p path) fits(segments []string) bool {
	if len(segments) < len(p.segments) || len(segments) > len(p.segments) && !p.subtree {
		return false
	}
	for i, own := range p.segments {
		if own != segments[i] && !isParameter(own) {
			return false
		}
	}
	return true
}

func isParameter(segment string) bool { return strings.HasPrefix(segment, "{") }

// ranks is how vague each of n segments is: a word, a parameter, anything.
func (p path) ranks(n int) []int {
	ranks := make([]int, n)
	for i := range ranks {
		switch {
		case i >= len(p.segments):
			ranks[i] = 2
		case isParameter(p.segments[i]):
			ranks[i] = 1
		}
	}
	return ranks
}
