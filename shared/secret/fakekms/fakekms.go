// Package fakekms is the far side of AWS KMS for tests: Encrypt and Decrypt over
// HTTP, as the SDK calls them, and every trouble that they may have.
package fakekms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// KMS answers Encrypt and Decrypt as AWS KMS does (JSON 1.1 over HTTP), for
// any number of keys.
type KMS struct {
	cipher cipher.AEAD
	keys   sync.Map // by ARN
}

// Key is a key of the fake, and its trouble.
type Key struct {
	ARN   string
	Made  atomic.Int32                                             // calls of Encrypt
	Read  atomic.Int32                                             // calls of Decrypt
	fault atomic.Pointer[func(http.ResponseWriter, *http.Request)] // nil: it works
}

// Environment points the AWS SDK of a process at a server of the fake, with
// credentials that it takes.
func Environment(url string) []string {
	return []string{
		"AWS_ENDPOINT_URL_KMS=" + url, "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=example",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_MAX_ATTEMPTS=1",
	}
}

// New returns a KMS without keys.
func New() *KMS {
	block, err := aes.NewCipher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &KMS{cipher: aead}
}

// NewKey makes a key that no other test uses.
func (f *KMS) NewKey(t testing.TB) *Key {
	t.Helper()
	k := &Key{ARN: "arn:aws:kms:eu-central-1:111122223333:key/" + rand.Text()}
	f.keys.Store(k.ARN, k)
	return k
}

// Breaks makes every call of the key do this, until it is mended with nil.
func (k *Key) Breaks(do func(http.ResponseWriter, *http.Request)) {
	if do == nil {
		k.fault.Store(nil)
		return
	}
	k.fault.Store(&do)
}

// Refuses answers with an exception of KMS.
func Refuses(exception string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":"refused by the fake"}`, exception)
	}
}

// HangsUp closes the connection.
func HangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// IsSilent answers when the caller has gone.
func IsSilent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// message is what requests and answers have between them.
type message struct {
	KeyID             string            `json:"KeyId"`
	Plaintext         []byte            `json:",omitempty"`
	CiphertextBlob    []byte            `json:",omitempty"`
	EncryptionContext map[string]string `json:",omitempty"`
}

// ServeHTTP implements [http.Handler].
func (f *KMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked message
	body, err := io.ReadAll(r.Body) // to its end: an answer before that costs the caller's connection
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	found, ok := f.keys.Load(asked.KeyID)
	if !ok || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") || !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/kms/") {
		Refuses("NotFoundException")(w, r)
		return
	}
	k := found.(*Key)
	encrypts := r.Header.Get("X-Amz-Target") == "TrentService.Encrypt"
	if encrypts {
		k.Made.Add(1)
	} else {
		k.Read.Add(1)
	}
	if fault := k.fault.Load(); fault != nil {
		(*fault)(w, r)
		return
	}
	bound, err := json.Marshal(asked.EncryptionContext)
	if err != nil || len(asked.EncryptionContext) == 0 {
		Refuses("ValidationException")(w, r)
		return
	}
	answer := message{KeyID: k.ARN}
	if encrypts {
		answer.CiphertextBlob = append([]byte(k.ARN), f.cipher.Seal(nil, nil, asked.Plaintext, bound)...) // #nosec G407 -- the AEAD makes the nonce itself, so it takes none
		if len(asked.Plaintext) > 4096 {
			Refuses("ValidationException")(w, r)
			return
		}
	} else {
		sealed, mine := bytes.CutPrefix(asked.CiphertextBlob, []byte(k.ARN))
		if !mine {
			Refuses("IncorrectKeyException")(w, r)
			return
		}
		if answer.Plaintext, err = f.cipher.Open(nil, nil, sealed, bound); err != nil {
			Refuses("InvalidCiphertextException")(w, r)
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(answer)
}
