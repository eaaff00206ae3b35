package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/wafleet/wafleet/functions/access"
)

// endpoint answers one request, or returns the error that does.
type endpoint func(*call) error

// route is a method and a pattern such as "/api/sessions/{session}/start". A
// pattern that ends in "..." stands for itself and everything below it.
type route struct {
	method    string // anyMethod for all
	pattern   string
	do        endpoint
	needs     access.Right // of the caller; under /api nobody may without one
	sessionAt int          // which segment is the session's name, -1 for none
	unbuilt   bool         // answers 501
	keeps     keep         // of the answer to a POST, for who asks again
}

const (
	anyMethod     = "*"
	sessionParam  = "{session}"
	subtreeSuffix = "..."
)

// standardMethods is what Allow says for anyMethod.
var standardMethods = []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost, http.MethodPut}

// node is one segment in the tree of patterns. A literal child is preferred to
// a parameter, and a parameter to a subtree, but every way is tried: the path of
// one route may be a session's name in another.
type node struct {
	literals map[string]*node
	param    *node
	here     []*route
	below    []*route
}

func newNode() *node { return &node{literals: map[string]*node{}} }

func (n *node) add(r route) {
	r.sessionAt = -1
	pattern, subtree := strings.CutSuffix(r.pattern, subtreeSuffix)
	for i, part := range strings.FieldsFunc(pattern, func(c rune) bool { return c == '/' }) {
		if part == sessionParam {
			r.sessionAt = i
		}
		n = n.child(part)
	}
	n.here = append(n.here, &r)
	if subtree {
		n.below = append(n.below, &r)
	}
}

func (n *node) child(part string) *node {
	if strings.HasPrefix(part, "{") {
		if n.param == nil {
			n.param = newNode()
		}
		return n.param
	}
	next := n.literals[part]
	if next == nil {
		next = newNode()
		n.literals[part] = next
	}
	return next
}

// find returns the best route, and where there is none for this method, or the
// method is OPTIONS, every method that the path has, sorted.
func (n *node) find(segments []string, method string) (*route, []string) {
	var candidates []*route
	n.collect(segments, &candidates)
	for _, r := range candidates {
		if r.fits(method) {
			return r, nil
		}
	}
	return nil, methodsOf(candidates)
}

// collect appends all routes of a path, the best first.
func (n *node) collect(segments []string, into *[]*route) {
	if len(segments) == 0 {
		*into = append(*into, n.here...)
		return
	}
	if next := n.literals[segments[0]]; next != nil {
		next.collect(segments[1:], into)
	}
	if n.param != nil {
		n.param.collect(segments[1:], into)
	}
	*into = append(*into, n.below...)
}

func (r *route) fits(method string) bool {
	switch {
	case method == http.MethodOptions:
		return false
	case r.method == anyMethod:
		return true
	}
	return r.method == method || r.method == http.MethodGet && method == http.MethodHead
}

func methodsOf(routes []*route) []string {
	var methods []string
	for _, r := range routes {
		if r.method == anyMethod {
			methods = append(methods, standardMethods...)
		} else {
			methods = append(methods, r.method)
		}
	}
	if len(methods) == 0 {
		return nil
	}
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	methods = append(methods, http.MethodOptions)
	slices.Sort(methods)
	return slices.Compact(methods)
}
