package wasim_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/shared/wasim"
)

// BenchmarkPairing pairs clients up to Connected, both sides in this process, several at a time:
//
//	go test -run '^$' -bench Pairing -benchtime 200x ./shared/wasim
func BenchmarkPairing(b *testing.B) {
	for _, parallel := range []int{1, 16} {
		b.Run(fmt.Sprintf("parallel=%d", parallel), func(b *testing.B) {
			s := start(b)
			var number atomic.Int64
			b.SetParallelism(max(1, parallel/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					benchPair(b, s, fmt.Sprintf("55119%08d", number.Add(1)))
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairings/s")
		})
	}
}

func benchPair(b *testing.B, s *wasim.Server, number string) {
	c := newClient(b, s, newMemDevice())
	if err := c.Connect(); err != nil {
		b.Error(err)
		return
	}
	if _, err := s.Scan(number, await[*events.QR](c).Codes[0]); err != nil {
		b.Error(err)
		return
	}
	c.online()
}

// BenchmarkIdleConnections reports the memory of a logged-in connection with its client, server and device, after the
// garbage is gone. The client alone has about 98 KB of live heap.
func BenchmarkIdleConnections(b *testing.B) {
	s := start(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range b.N {
		benchPair(b, s, fmt.Sprintf("55119%08d", i))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := float64(after.HeapAlloc+after.StackInuse) - float64(before.HeapAlloc+before.StackInuse)
	b.ReportMetric(used/1024/float64(b.N), "KB/pair")
	b.ReportMetric(float64(runtime.NumGoroutine())/float64(b.N), "goroutines/pair")
}
