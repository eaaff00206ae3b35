package secret_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fakeKMS answers Encrypt and Decrypt as AWS KMS does (JSON 1.1 over HTTP), for
// any number of keys.
type fakeKMS struct {
	cipher cipher.AEAD
	keys   sync.Map // by ARN
}

// masterKey is a key of the fake, and its trouble.
type masterKey struct {
	arn   string
	made  atomic.Int32                                             // calls of Encrypt
	read  atomic.Int32                                             // calls of Decrypt
	fault atomic.Pointer[func(http.ResponseWriter, *http.Request)] // nil: it works
}

func newFakeKMS() *fakeKMS {
	block, err := aes.NewCipher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &fakeKMS{cipher: aead}
}

// newKey makes a key that no other test uses.
func (f *fakeKMS) newKey(t testing.TB) *masterKey {
	t.Helper()
	k := &masterKey{arn: "arn:aws:kms:eu-central-1:111122223333:key/" + rand.Text()}
	f.keys.Store(k.arn, k)
	return k
}

// breaks makes every call of the key do this, until it is mended with nil.
func (k *masterKey) breaks(do func(http.ResponseWriter, *http.Request)) {
	if do == nil {
		k.fault.Store(nil)
		return
	}
	k.fault.Store(&do)
}

// refuses answers with an exception of KMS.
func refuses(exception string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":"refused by the fake"}`, exception)
	}
}

// hangsUp closes the connection.
func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// isSilent answers when the caller has gone.
func isSilent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// message is what requests and answers have between them.
type message struct {
	KeyID             string            `json:"KeyId"`
	Plaintext         []byte            `json:",omitempty"`
	CiphertextBlob    []byte            `json:",omitempty"`
	EncryptionContext map[string]string `json:",omitempty"`
}

func (f *fakeKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked message
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	found, ok := f.keys.Load(asked.KeyID)
	if !ok || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") || !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/kms/") {
		refuses("NotFoundException")(w, r)
		return
	}
	k := found.(*masterKey)
	encrypts := r.Header.Get("X-Amz-Target") == "TrentService.Encrypt"
	if encrypts {
		k.made.Add(1)
	} else {
		k.read.Add(1)
	}
	if fault := k.fault.Load(); fault != nil {
		(*fault)(w, r)
		return
	}
	bound, err := json.Marshal(asked.EncryptionContext)
	if err != nil || len(asked.EncryptionContext) == 0 {
		refuses("ValidationException")(w, r)
		return
	}
	answer := message{KeyID: k.arn}
	if encrypts {
		answer.CiphertextBlob = append([]byte(k.arn), f.cipher.Seal(nil, nil, asked.Plaintext, bound)...)
		if len(asked.Plaintext) > 4096 {
			refuses("ValidationException")(w, r)
			return
		}
	} else {
		sealed, mine := bytes.CutPrefix(asked.CiphertextBlob, []byte(k.arn))
		if !mine {
			refuses("IncorrectKeyException")(w, r)
			return
		}
		if answer.Plaintext, err = f.cipher.Open(nil, nil, sealed, bound); err != nil {
			refuses("InvalidCiphertextException")(w, r)
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(answer)
}
