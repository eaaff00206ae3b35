package pgserver

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeArchive is what the repository serves: a jar with an xz-compressed tar of the programs.
func fakeArchive(t *testing.T) []byte {
	t.Helper()
	root := openDir(t)
	bin := fakeBin(t, filepath.Join(root, "bin"), string(libraryVersion))
	if err := os.WriteFile(filepath.Join(bin, "pg_ctl"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tar, err := exec.Command("tar", "-C", root, "-cJf", "-", "bin").Output()
	if err != nil {
		t.Skipf("no tar with xz on this machine: %v", err)
	}
	var jar bytes.Buffer
	archive := zip.NewWriter(&jar)
	file, err := archive.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(tar); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return jar.Bytes()
}

func TestLibraryDownloadLandsInTheCache(t *testing.T) {
	t.Parallel()
	jar := fakeArchive(t)
	digest := sha256.Sum256(jar)
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/maven2/io/zonky/"):
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".sha256"):
			_, _ = w.Write([]byte(hex.EncodeToString(digest[:])))
		default:
			_, _ = w.Write(jar)
		}
	}))
	defer repository.Close()
	_, r := world(t)
	download := newLibraryDownload()
	download.repository = repository.URL + "/maven2"
	r.fetchers = []fetcher{{name: "library", fetch: download.fetch}}
	bin, err := r.resolve(t.Context(), 0)
	if err != nil || bin.version != string(libraryVersion) || bin.from != "library" {
		t.Fatalf("%v, %v", bin, err)
	}
	if entries, _ := os.ReadDir(r.cacheDir); len(entries) != 1 {
		t.Errorf("cache holds more than the download: %v", entries)
	}
}

// The source that hangs is the bad one: it accepts connections and never answers.
func TestSilentRepositoryIsGivenUp(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	download := newLibraryDownload()
	if sum := download.dial + download.tls + download.firstByte; sum > 10*time.Second {
		t.Errorf("an unreachable source may take %s", sum)
	}
	download.repository = "http://" + silent.Addr().String()
	download.firstByte = 50 * time.Millisecond
	cache := openDir(t)
	if err := download.fetch(t.Context(), cache); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("err = %v, want a timeout", err)
	}
	if entries, _ := os.ReadDir(cache); len(entries) != 0 {
		t.Errorf("left in the cache: %v", entries)
	}
}

func TestMissingReleaseIsReported(t *testing.T) {
	t.Parallel()
	repository := httptest.NewServer(http.NotFoundHandler())
	defer repository.Close()
	download := newLibraryDownload()
	download.repository = repository.URL
	if err := download.fetch(t.Context(), openDir(t)); err == nil || !strings.Contains(err.Error(), string(libraryVersion)) {
		t.Errorf("err = %v", err)
	}
}

func TestTheLibrarysSourceIsKnown(t *testing.T) {
	if u, err := url.Parse(librarySource()); err != nil || u.Scheme != "https" || u.Host == "" {
		t.Errorf("source %q %v", librarySource(), err)
	}
}
