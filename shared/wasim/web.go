package wasim

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// DefaultRevision is the client revision announced when nothing else is set; whatsmeow reads it as version 2.3000.N.
const DefaultRevision = 1045999999

type connKey struct{}

// rememberConn keeps the accepted connection in the request's context: the fault modes need the socket itself.
func rememberConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// routes is what web.whatsapp.com serves.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws/chat", s.serveChat)
	mux.HandleFunc("GET /", s.servePage)
	return s.tracked(mux)
}

// tracked makes Close wait for running requests; the hijacked ones are whole connections.
func (s *Server) tracked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			http.Error(w, "closing", http.StatusServiceUnavailable)
			return
		}
		s.work.Add(1)
		s.mu.Unlock()
		defer s.work.Done()
		next.ServeHTTP(w, r)
	})
}

// servePage is the page in which whatsmeow.GetLatestVersion looks for the revision.
func (s *Server) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html><title>wasim</title><script>var config={\"client_revision\":%d,\"server\":\"wasim\"}</script>\n", s.Revision)
}

// serveChat is one client connection from the upgrade to its end.
func (s *Server) serveChat(w http.ResponseWriter, r *http.Request) {
	if !s.admit(w, r) {
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the Origin is web.whatsapp.com, the host is whatever was dialled
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return
	}
	ws.SetReadLimit(maxFrame + 1024)
	socket, _ := r.Context().Value(connKey{}).(net.Conn)
	c := newConn(s, ws, socket, r.RemoteAddr)
	if !s.addConn(c) {
		_ = ws.CloseNow()
		return
	}
	defer s.removeConn(c)
	c.cancel(c.run())
}
