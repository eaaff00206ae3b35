package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	// downloadMajor is the major version of both downloads, so that data made with one can be read with the other.
	downloadMajor = 18
	// libraryVersion is the newest release of downloadMajor that the library knows.
	libraryVersion = embeddedpostgres.V18
	// downloadTimeout bounds a download of about 30 MB from a source that answers.
	downloadTimeout = 3 * time.Minute
)

func libraryCacheName() string {
	return fmt.Sprintf("postgres-%s-%s-%s", libraryVersion, runtime.GOOS, runtime.GOARCH)
}

// libraryDownload fetches the library's binaries. The library knows where they are, checks their digest and unpacks them;
// but it downloads without a timeout, and only as a part of starting a server, which it cannot do as root. So it is given a
// relay on the loopback as its repository, where deadlines hold, and a stub data directory, so that its start fails once
// the binaries are unpacked.
type libraryDownload struct {
	repository string
	// Limits of an unreachable source: connect, TLS and the first byte together stay below 10 s.
	dial, tls, firstByte time.Duration
}

// librarySource is where the library downloads from by itself. It has no way to
// ask; a release that hides it elsewhere yields "", and the download fails with
// that, which a test would show first.
func librarySource() string {
	return reflect.ValueOf(embeddedpostgres.DefaultConfig()).FieldByName("binaryRepositoryURL").String()
}

func newLibraryDownload() libraryDownload {
	return libraryDownload{repository: librarySource(), dial: 3 * time.Second, tls: 3 * time.Second, firstByte: 3 * time.Second}
}

func (d libraryDownload) fetch(ctx context.Context, cacheDir string) error {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	staging, err := os.MkdirTemp(cacheDir, ".library-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)

	relay, err := d.startRelay(ctx)
	if err != nil {
		return err
	}
	unpacked := filepath.Join(staging, "postgres")
	startErr := unpackByStarting(relay.url, staging, unpacked)
	if err := relay.stop(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(unpacked, "bin", "initdb")); err != nil {
		return fmt.Errorf("download: %w", startErr)
	}
	return publish(unpacked, filepath.Join(cacheDir, libraryCacheName()))
}

// unpackByStarting returns the library's error, which is expected: success is what lies in unpacked.
func unpackByStarting(repository, staging, unpacked string) error {
	data := filepath.Join(staging, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	// A version file alone: enough for the library not to run initdb, not enough for a server to start.
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), fmt.Appendln(nil, downloadMajor), 0o600); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	library := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(libraryVersion).BinaryRepositoryURL(repository).Port(uint32(port)). // #nosec G115 -- a port
		CachePath(staging).RuntimePath(filepath.Join(staging, "run")).BinariesPath(unpacked).DataPath(data).
		StartTimeout(time.Second).Logger(io.Discard))
	err = library.Start()
	if err == nil {
		err = errors.Join(errors.New("the library started a server on a stub"), library.Stop())
	}
	// The library uses the default HTTP client and leaves its connection open.
	http.DefaultClient.CloseIdleConnections()
	return err
}

// relay forwards the library's requests to the repository.
type relay struct {
	url    string
	server *http.Server
	served chan error

	mu  sync.Mutex
	err error // guarded by mu; the first failure to reach the repository
}

func (d libraryDownload) startRelay(ctx context.Context) (*relay, error) {
	target, err := url.Parse(d.repository)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: d.dial}).DialContext,
		TLSHandshakeTimeout:   d.tls,
		ResponseHeaderTimeout: d.firstByte,
		DisableKeepAlives:     true,
	}
	r := &relay{url: "http://" + listener.Addr().String(), served: make(chan error, 1)}
	r.server = &http.Server{
		ReadHeaderTimeout: d.firstByte,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Handler: &httputil.ReverseProxy{
			Transport: transport,
			Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(target) },
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				r.fail(err)
				w.WriteHeader(http.StatusBadGateway)
			},
		},
	}
	go func() { r.served <- r.server.Serve(listener) }()
	return r, nil
}

func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// stop returns the first failure to reach the repository: it says more than what the library makes of it.
func (r *relay) stop() error {
	closeErr := r.server.Close()
	<-r.served
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, closeErr)
}

// publish moves a complete download into place for everybody to read. Another process may have been faster with the
// same thing; then that one stays.
func publish(from, to string) error {
	if err := readableByAll(from); err != nil {
		return err
	}
	err := os.Rename(from, to)
	if _, statErr := os.Stat(to); err != nil && statErr == nil {
		return nil
	}
	return err
}

// readableByAll undoes a strict umask: the server may run as another user than the one who downloads.
func readableByAll(root string) error {
	return filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type()&os.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode) // #nosec G122 -- a directory that this process has just made
	})
}
