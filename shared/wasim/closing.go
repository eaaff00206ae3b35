package wasim

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// DropMode is a way to end a connection.
type DropMode string

const (
	DropFin   DropMode = "fin"   // the TCP connection is half closed without a word; the client reads end of file
	DropRST   DropMode = "rst"   // the TCP connection is reset
	DropClose DropMode = "close" // the websocket is closed properly, by a close frame
)

// finWait bounds how long a half-closed connection waits for its client to close the other half.
const finWait = time.Second

// shut ends the connection in the given way. It blocks until that is done: up to 5 s for a close frame that a frozen
// client does not answer, finWait for a FIN, nothing for a reset.
func (c *conn) shut(mode DropMode, why string) {
	c.srv.mu.Lock()
	c.finalLocked(why)
	c.srv.mu.Unlock()
	tcp := tcpOf(c.sock)
	switch mode {
	case DropRST:
		if tcp != nil {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	case DropFin:
		if tcp != nil {
			_ = tcp.CloseWrite()
			sleepUntil(c.ctx, time.Now().Add(finWait))
			_ = tcp.Close()
		}
	default:
		_ = c.ws.Close(websocket.StatusNormalClosure, "")
	}
	c.cancel(errors.New(why))
}

// kill ends the connection at once, without blocking.
func (c *conn) kill(cause error) {
	c.srv.mu.Lock()
	c.finalLocked(cause.Error())
	c.srv.mu.Unlock()
	if tcp := tcpOf(c.sock); tcp != nil {
		_ = tcp.Close()
	}
	c.cancel(cause)
}

// tcpOf returns the TCP socket below a TLS connection, nil if there is none.
func tcpOf(sock net.Conn) *net.TCPConn {
	if wrapped, ok := sock.(interface{ NetConn() net.Conn }); ok {
		sock = wrapped.NetConn()
	}
	tcp, _ := sock.(*net.TCPConn)
	return tcp
}

// SilenceMode is a way in which a server can be silent while the TCP connection lives.
type SilenceMode string

const (
	SilenceOff    SilenceMode = ""       // answers as usual
	SilenceMute   SilenceMode = "mute"   // reads and discards; sends nothing
	SilenceFreeze SilenceMode = "freeze" // does not even read: the client's sends back up in the sockets' buffers
)

// gate holds a connection's silence.
type gate struct {
	mu      sync.Mutex
	silence SilenceMode
	thawed  chan struct{} // closed when the freeze ends; nil unless frozen
}

func (g *gate) mode() SilenceMode {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.silence
}

func (g *gate) set(mode SilenceMode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.thawed != nil {
		close(g.thawed)
		g.thawed = nil
	}
	if mode == SilenceFreeze {
		g.thawed = make(chan struct{})
	}
	g.silence = mode
}

// pass blocks while frozen and returns the silence then.
func (g *gate) pass(ctx context.Context) (SilenceMode, error) {
	for {
		g.mu.Lock()
		mode, thawed := g.silence, g.thawed
		g.mu.Unlock()
		if thawed == nil {
			return mode, nil
		}
		select {
		case <-thawed:
		case <-ctx.Done():
			return mode, context.Cause(ctx)
		}
	}
}
