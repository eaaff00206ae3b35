package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// TestAStormOfCodes: calls that share statements get each its own answer, also
// where one is refused or some of the callers leave.
func TestAStormOfCodes(t *testing.T) {
	t.Parallel()
	const sessions = 40
	f := newFleet(t)
	name := func(i int) session.Name { return session.Name(fmt.Sprint("s", i)) }
	for i := range sessions {
		f.start(name(i))
	}
	claims := map[session.Name]store.Claim{}
	for _, c := range f.claim(f.connector("c"), sessions) {
		claims[c.Name] = c
	}
	var writing sync.WaitGroup
	for i := range sessions {
		writing.Go(func() {
			term := termOf(claims[name(i)])
			var want error
			if i == 0 {
				term.Epoch++ // another's
				want = session.ErrFenced
			}
			codes := session.QRCodes{Codes: []string{"first of " + string(name(i)), "second,of"}, First: time.Hour, Next: time.Hour}
			if err := f.PutQRIfEpoch(t.Context(), term, codes); !errors.Is(err, want) {
				t.Errorf("put for %s: %v", name(i), err)
			}
		})
	}
	writing.Wait()
	var reading sync.WaitGroup
	for n := range 20 * sessions {
		reading.Go(func() {
			i := n % (sessions + 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if n%3 == 0 {
				go cancel()
			}
			found, pairing, err := f.Pairing(ctx, f.tenant, name(i))
			if err != nil && ctx.Err() != nil && !errors.Is(err, session.ErrNotFound) {
				return
			}
			switch code, _, shown := pairing.QR.Current(found.ReadAt); {
			case i == sessions:
				if !errors.Is(err, session.ErrNotFound) {
					t.Errorf("a session that is not there: %v", err)
				}
			case err != nil:
				t.Errorf("%s: %v", name(i), err)
			case found.Name != name(i):
				t.Errorf("%s was read for %s", found.Name, name(i))
			case shown != (i > 0) || (shown && code != "first of "+string(name(i))):
				t.Errorf("%s shows %q", name(i), code)
			}
		})
	}
	reading.Wait()
}
