package secret_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/secret/fakekms"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// process is a box as another process of the fleet has it.
func process(t *testing.T, k *fakekms.Key, stored secret.Keys) *secret.Box {
	t.Helper()
	box, err := secret.OverKMS(k.ARN, stored)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// counts checks how often KMS was asked so far.
func counts(t *testing.T, k *fakekms.Key, made, read int32) {
	t.Helper()
	if k.Made.Load() != made || k.Read.Load() != read {
		t.Errorf("%d calls of Encrypt, %d of Decrypt; want %d, %d", k.Made.Load(), k.Read.Load(), made, read)
	}
}

func TestKMSIsAskedOncePerProcessAndNotAtItsStart(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	box := process(t, k, fleet)
	counts(t, k, 0, 0)
	sealed := seal(t, box)
	for range 10 {
		opens(t, box, seal(t, box))
	}
	counts(t, k, 1, 1)
	other := process(t, k, fleet)
	for range 10 {
		opens(t, other, sealed)
	}
	counts(t, k, 1, 2)
}

func TestOfTwoFirstKeysOneWins(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	boxes := []*secret.Box{process(t, k, fleet), process(t, k, fleet)}
	const each = 8
	sealed := make([][]byte, each*len(boxes))
	var all sync.WaitGroup
	for i := range sealed {
		all.Go(func() {
			var err error
			if sealed[i], err = boxes[i%len(boxes)].Seal(t.Context(), plain, tenant); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, text := range sealed {
		if !bytes.Equal(text[:6], sealed[0][:6]) {
			t.Errorf("keys %x and %x", text[:6], sealed[0][:6])
		}
		for _, box := range append(boxes, process(t, k, fleet)) {
			opens(t, box, text)
		}
	}
}

func TestWhoOnlyOpensMakesNoKey(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	box := process(t, k, fleet)
	refusesToOpen(t, "another fleet's", box, seal(t, fileBox(t)), tenant)
	counts(t, k, 0, 0)
	if _, err := fleet.DataKey(t.Context()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("a key is stored: %v", err)
	}
	// The key that is made later is found.
	opens(t, box, seal(t, process(t, k, fleet)))
}

func TestKMSThatFailsIsAskedAgainAtTheNextUse(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request){
		"hangs up": fakekms.HangsUp, "is silent": fakekms.IsSilent, "throttles": fakekms.Refuses("ThrottlingException"),
		"denies": fakekms.Refuses("AccessDeniedException"), "has the key disabled": fakekms.Refuses("DisabledException"),
		"talks nonsense": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, fleet := far.NewKey(t), table(t)
			box := process(t, k, fleet).WithPatience(200 * time.Millisecond)
			k.Breaks(fault)
			for range 2 {
				if _, err := box.Seal(t.Context(), plain, tenant); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "KMS") {
					t.Fatalf("seal: %v", err)
				}
			}
			k.Breaks(nil)
			box.WithPatience(5 * time.Second)
			sealed := seal(t, box)

			other := process(t, k, fleet).WithPatience(200 * time.Millisecond)
			k.Breaks(fault)
			if _, err := other.Open(t.Context(), sealed, tenant); !errors.Is(err, session.ErrUnavailable) || errors.Is(err, secret.ErrUnreadable) {
				t.Fatalf("open: %v", err)
			}
			opens(t, box, sealed) // who has the key needs KMS no more
			k.Breaks(nil)
			opens(t, other.WithPatience(5*time.Second), sealed)
		})
	}
}

// TestNobodyWaitsLongerThanHeWants: a caller that leaves takes nobody along who
// waits for the same call.
func TestNobodyWaitsLongerThanHeWants(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	sealed := seal(t, process(t, k, fleet))
	box := process(t, k, fleet)
	asked, answer := make(chan struct{}, 2), make(chan struct{})
	k.Breaks(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-answer:
			fakekms.Refuses("ThrottlingException")(w, r)
		case <-r.Context().Done():
		}
	})
	var all sync.WaitGroup
	impatient, leave := context.WithCancel(t.Context())
	all.Go(func() {
		if _, err := box.Open(impatient, sealed, tenant); !errors.Is(err, context.Canceled) || !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("left: %v", err)
		}
	})
	<-asked
	all.Go(func() {
		if got, err := box.Open(t.Context(), sealed, tenant); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("stayed: %q, %v", got, err)
		}
	})
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := box.Open(late, sealed, tenant); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited: %v", err)
	}
	k.Breaks(nil)
	leave()
	all.Wait()
	close(answer)
}

func TestAnotherKMSKeyDoesNotOpen(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	sealed := seal(t, process(t, k, fleet))
	wrong := process(t, far.NewKey(t), fleet)
	refusesToOpen(t, "other KMS key", wrong, sealed, tenant)
	if _, err := wrong.Seal(t.Context(), plain, tenant); !errors.Is(err, secret.ErrUnreadable) {
		t.Errorf("sealed: %v", err)
	}
	if err := secret.Rotate(t.Context(), far.NewKey(t).ARN, fleet); !errors.Is(err, secret.ErrUnreadable) {
		t.Errorf("rotated: %v", err)
	}
	wrapped, err := fleet.DataKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"cut": wrapped[:len(wrapped)/2], "nonsense": []byte("nonsense"), "flipped": flip(wrapped)} {
		if replaced, err := fleet.ReplaceDataKey(t.Context(), wrapped, damaged); err != nil || !replaced {
			t.Fatalf("%v, %v", replaced, err)
		}
		refusesToOpen(t, name, process(t, k, fleet), sealed, tenant)
		if replaced, err := fleet.ReplaceDataKey(t.Context(), damaged, wrapped); err != nil || !replaced {
			t.Fatalf("%v, %v", replaced, err)
		}
	}
	opens(t, process(t, k, fleet), sealed)
}

// flip damages what KMS has encrypted.
func flip(wrapped []byte) []byte {
	damaged := bytes.Clone(wrapped)
	damaged[len(damaged)/2] ^= 1
	return damaged
}

func TestARotationReachesEveryProcess(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	before := process(t, k, fleet)
	old := seal(t, before)
	if err := secret.Rotate(t.Context(), k.ARN, fleet); err != nil {
		t.Fatal(err)
	}
	after := process(t, k, fleet)
	opens(t, after, old)
	fresh := seal(t, after)
	if bytes.Equal(fresh[:6], old[:6]) {
		t.Fatal("still sealed with the old key")
	}
	counts(t, k, 2, 3)
	opens(t, before, fresh) // it has the old keyset
	opens(t, before, old)
	if again := seal(t, before); !bytes.Equal(again[:6], fresh[:6]) {
		t.Error("who has seen the new key seals with the old one")
	}
	counts(t, k, 2, 4)
	// A key that nobody has costs a look at the table, not a call of KMS.
	unknown := bytes.Clone(fresh)
	unknown[2] ^= 0x80
	refusesToOpen(t, "unknown key", before, unknown, tenant)
	counts(t, k, 2, 4)
}

func TestRotateWithoutAKeyMakesOne(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	if err := secret.Rotate(t.Context(), k.ARN, fleet); err != nil {
		t.Fatal(err)
	}
	counts(t, k, 1, 1)
	box := process(t, k, fleet)
	opens(t, box, seal(t, box))
	counts(t, k, 1, 2)
}

// TestRotationsAtOnceAllCount, up to as many keys as KMS encrypts.
func TestRotationsAtOnceAllCount(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	box := process(t, k, fleet)
	sealed := [][]byte{seal(t, box)}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := secret.Rotate(t.Context(), k.ARN, fleet); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	rotations := 3
	for ; ; rotations++ {
		sealed = append(sealed, seal(t, process(t, k, fleet)))
		if err := secret.Rotate(t.Context(), k.ARN, fleet); err != nil {
			if errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "32 keys") {
				t.Fatal(err)
			}
			break
		}
	}
	if rotations != 31 {
		t.Errorf("%d rotations", rotations)
	}
	reader := process(t, k, fleet)
	for _, text := range sealed {
		opens(t, reader, text)
	}
}

func TestTheDatabaseMayBeAway(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	sealed := seal(t, process(t, k, fleet))
	away, err := store.Open("postgres://u:p@127.0.0.1:1/db?sslmode=disable", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	box := process(t, k, away)
	if _, err := box.Seal(t.Context(), plain, tenant); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("seal: %v", err)
	}
	if _, err := box.Open(t.Context(), sealed, tenant); !errors.Is(err, session.ErrUnavailable) || errors.Is(err, secret.ErrUnreadable) {
		t.Errorf("open: %v", err)
	}
	if err := secret.Rotate(t.Context(), k.ARN, away); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("rotate: %v", err)
	}
}

func TestTheStoredKeysetIsEncrypted(t *testing.T) {
	t.Parallel()
	k, fleet := far.NewKey(t), table(t)
	seal(t, process(t, k, fleet))
	wrapped, err := fleet.DataKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A cleartext keyset names the kind of its key material.
	if len(wrapped) < 100 || bytes.Contains(wrapped, []byte("AesGcmKey")) {
		t.Errorf("%q", wrapped)
	}
}

func TestCheckARN(t *testing.T) {
	t.Parallel()
	for arn, good := range map[string]bool{
		"arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab":         true,
		"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab": true,
		"arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab":        true,
		"":                                     false,
		"alias/wafleet":                        false,
		"1234abcd-12ab-34cd-56ef-1234567890ab": false,
		"arn:aws:kms:eu-central-1:111122223333:alias/wafleet":                                      false,
		"arn:aws:s3:eu-central-1:111122223333:key/1234abcd":                                        false,
		"aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab": false,
		"arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab\narn":      false,
	} {
		if err := secret.CheckARN(arn); (err == nil) != good {
			t.Errorf("%q: %v", arn, err)
		}
		if _, err := secret.OverKMS(arn, nil); (err == nil) != good {
			t.Errorf("%q: %v", arn, err)
		}
		if !good && secret.Rotate(t.Context(), arn, nil) == nil {
			t.Errorf("%q: rotated", arn)
		}
	}
}
