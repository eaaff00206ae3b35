package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of both HTTP servers. The API's handler ends a request after 25 s.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 20 * time.Second
	idleTimeout       = 2 * time.Minute
	// requestPatience is what requests under way get at the end.
	requestPatience = time.Second
)

// httpServer serves one handler on one listener.
type httpServer struct {
	server *http.Server
	cancel context.CancelFunc // of every request's context
	ended  chan struct{}      // closed when it serves no more
	err    error              // why; valid once ended is closed
}

func serveHTTP(listener net.Listener, handler http.Handler, log *slog.Logger) *httpServer {
	requests, cancel := context.WithCancel(context.Background())
	s := &httpServer{
		server: &http.Server{
			Handler:                      handler,
			ReadHeaderTimeout:            readHeaderTimeout,
			ReadTimeout:                  readTimeout,
			IdleTimeout:                  idleTimeout,
			DisableGeneralOptionsHandler: true, // the API answers OPTIONS itself
			BaseContext:                  func(net.Listener) context.Context { return requests },
			ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		cancel: cancel,
		ended:  make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.err = err
		}
	}()
	return s
}

// stop takes no more requests, gives those under way a moment, then cuts them
// off. That it had to is no error.
func (s *httpServer) stop(hurry context.Context) {
	ctx, cancel := context.WithTimeout(hurry, requestPatience)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.cancel()
		_ = s.server.Close()
	}
	s.cancel()
	<-s.ended
}
