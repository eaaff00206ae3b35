package httpapi_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
)

// Benchmarks go through handler, authentication and a real Postgres; -cpu sets
// the number of concurrent clients.

func BenchmarkGetSession(b *testing.B) {
	s := newService(b)
	s.start("a")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if code := s.get("/api/sessions/a").Code; code != http.StatusOK {
				b.Errorf("status %d", code)
			}
		}
	})
}

func BenchmarkStartSession(b *testing.B) {
	s := newService(b)
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if code := s.post(fmt.Sprintf("/api/sessions/s%d/start", n.Add(1)), documentedBody).Code; code != http.StatusCreated {
				b.Errorf("status %d", code)
			}
		}
	})
}
