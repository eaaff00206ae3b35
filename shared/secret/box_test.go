package secret_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/wafleet/wafleet/shared/secret"
)

var (
	plain  = []byte(`{"proxy":{"password":"s3cr3t"}}`)
	tenant = []byte("tenant a")
)

// fileBox is a box with a fresh key file.
func fileBox(t testing.TB) *secret.Box {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets.key")
	if err := secret.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	return opened(t, path)
}

func opened(t testing.TB, path string) *secret.Box {
	t.Helper()
	box, err := secret.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func seal(t testing.TB, box *secret.Box) []byte {
	t.Helper()
	sealed, err := box.Seal(t.Context(), plain, tenant)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// opens checks that a box reads what was sealed.
func opens(t testing.TB, box *secret.Box, sealed []byte) {
	t.Helper()
	if got, err := box.Open(t.Context(), sealed, tenant); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%q, %v", got, err)
	}
}

func refusesToOpen(t testing.TB, what string, box *secret.Box, sealed, bound []byte) {
	t.Helper()
	got, err := box.Open(t.Context(), sealed, bound)
	if !errors.Is(err, secret.ErrUnreadable) || got != nil {
		t.Fatalf("%s: %q, %v", what, got, err)
	}
	if strings.Contains(err.Error(), "s3cr3t") {
		t.Fatalf("%s: the error tells the secret: %v", what, err)
	}
}

func TestSealedTextOpensAgain(t *testing.T) {
	t.Parallel()
	box := fileBox(t)
	first, second := seal(t, box), seal(t, box)
	if bytes.Equal(first, second) {
		t.Error("the same text twice is sealed the same")
	}
	if first[0] != 1 {
		t.Errorf("version %d", first[0])
	}
	for _, sealed := range [][]byte{first, second} {
		if bytes.Contains(sealed, []byte("s3cr3t")) {
			t.Errorf("%q is in the clear", sealed)
		}
		opens(t, box, sealed)
	}
	for _, text := range [][]byte{nil, {}, bytes.Repeat([]byte("x"), 1<<20)} {
		sealed, err := box.Seal(t.Context(), text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := box.Open(t.Context(), sealed, nil); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

func TestOnlyTheWholeTextOpensAndOnlyInItsContext(t *testing.T) {
	t.Parallel()
	box := fileBox(t)
	sealed := seal(t, box)
	for _, bound := range [][]byte{nil, []byte("tenant b"), []byte("tenant a "), tenant[:7]} {
		refusesToOpen(t, string(bound), box, sealed, bound)
	}
	for n := range sealed {
		refusesToOpen(t, "cut", box, sealed[:n], tenant)
	}
	refusesToOpen(t, "longer", box, append(bytes.Clone(sealed), 0), tenant)
	for i := range sealed {
		for bit := range 8 {
			flipped := bytes.Clone(sealed)
			flipped[i] ^= 1 << bit
			refusesToOpen(t, "flipped", box, flipped, tenant)
		}
	}
	opens(t, box, sealed)
}

func TestAnotherFilesKeyDoesNotOpen(t *testing.T) {
	t.Parallel()
	refusesToOpen(t, "other key", fileBox(t), seal(t, fileBox(t)), tenant)
}

func TestABoxServesManyAtOnce(t *testing.T) {
	t.Parallel()
	box := fileBox(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				sealed, err := box.Seal(t.Context(), plain, tenant)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := box.Open(t.Context(), sealed, tenant); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestAKeyFileIsPrivateAndIsNeverReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets.key")
	if err := secret.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, opened(t, path))
	if err := secret.CreateFile(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	opens(t, opened(t, path), sealed)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := secret.OpenFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("%v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	opens(t, opened(t, path), sealed)
	if err := secret.CreateFile(filepath.Join(path, "x")); err == nil {
		t.Error("made below a file")
	}
}

// keysetFile writes a keyset as an operator may have made it.
func keysetFile(t *testing.T, template *tinkpb.KeyTemplate) string {
	t.Helper()
	handle, err := keyset.NewHandle(template)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&text)); err != nil {
		t.Fatal(err)
	}
	return textFile(t, text.String())
}

func textFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets.key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatIsNoKeyFileIsRefused(t *testing.T) {
	t.Parallel()
	box := opened(t, keysetFile(t, aead.AES256GCMKeyTemplate()))
	opens(t, box, seal(t, box))
	for name, path := range map[string]string{
		"missing":     filepath.Join(t.TempDir(), "none"),
		"a directory": t.TempDir(),
		"empty":       textFile(t, ""),
		"no keyset":   textFile(t, `{"value":"s3cr3t"}`),
		"no JSON":     textFile(t, "s3cr3t"),
		"no key":      textFile(t, `{"primaryKeyId":1,"key":[]}`),
		"shorter key": keysetFile(t, aead.AES128GCMKeyTemplate()),
		"no key id":   keysetFile(t, aead.AES256GCMNoPrefixKeyTemplate()),
		"other kind":  keysetFile(t, aead.XChaCha20Poly1305KeyTemplate()),
	} {
		_, err := secret.OpenFile(path)
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	box := fileBox(f)
	sealed := seal(f, box)
	f.Add(sealed, tenant)
	f.Add(sealed[:6], tenant)
	f.Add([]byte{1, 1, 0, 0, 0, 0}, []byte(nil))
	f.Add([]byte{2}, []byte{})
	f.Fuzz(func(t *testing.T, text, bound []byte) {
		got, err := box.Open(t.Context(), text, bound)
		if bytes.Equal(text, sealed) && bytes.Equal(bound, tenant) {
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		if !errors.Is(err, secret.ErrUnreadable) || got != nil {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	box, text := fileBox(b), bytes.Repeat([]byte("x"), 2<<10)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := box.Seal(b.Context(), text, tenant); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	box, text := fileBox(b), bytes.Repeat([]byte("x"), 2<<10)
	sealed, err := box.Seal(b.Context(), text, tenant)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := box.Open(b.Context(), sealed, tenant); err != nil {
			b.Fatal(err)
		}
	}
}
