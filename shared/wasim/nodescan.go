package wasim

import (
	"errors"
	"io"

	"go.mau.fi/whatsmeow/binary/token"
)

// Limits on the shape of one node; real traffic stays far below them.
const (
	maxNodeDepth = 32
	maxNodeLists = 65536
)

var (
	errNodeTooDeep = errors.New("node nested too deeply")
	errNodeTooBig  = errors.New("node has too many elements")
	errBadToken    = errors.New("invalid token")
)

// scanNode walks a marshalled node without building it and refuses what would make the decoder recurse or allocate
// beyond reason: a list announces its length in two bytes, and the decoder allocates it at once, at every level.
func scanNode(data []byte) error {
	s := nodeScan{data: data}
	return s.node(0)
}

type nodeScan struct {
	data  []byte
	lists int // elements announced so far
}

func (s *nodeScan) node(depth int) error {
	tag, err := s.uint(1)
	if err != nil {
		return err
	}
	size, err := s.listSize(tag)
	if err != nil {
		return err
	}
	for range size {
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// value skips whatever starts with the next byte.
func (s *nodeScan) value(depth int) error {
	if depth > maxNodeDepth {
		return errNodeTooDeep
	}
	tag, err := s.uint(1)
	if err != nil {
		return err
	}
	switch tag {
	case token.ListEmpty:
		return nil
	case token.List8, token.List16:
		return s.list(tag, depth)
	case token.Binary8:
		return s.sized(1, 0xFF)
	case token.Binary20:
		return s.sized(3, 0xFFFFF)
	case token.Binary32:
		return s.sized(4, 0x7FFFFFFF)
	case token.Dictionary0, token.Dictionary1, token.Dictionary2, token.Dictionary3:
		return s.skip(1)
	case token.Nibble8, token.Hex8:
		return s.sized(1, 0x7F)
	case token.JIDPair:
		return s.values(2, depth)
	case token.ADJID:
		return errors.Join(s.skip(2), s.values(1, depth))
	case token.FBJID:
		return errors.Join(s.values(1, depth), s.skip(2), s.values(1, depth))
	case token.InteropJID:
		return errors.Join(s.values(1, depth), s.skip(4), s.values(1, depth))
	}
	if tag < len(token.SingleByteTokens) {
		return nil
	}
	return errBadToken
}

func (s *nodeScan) values(n, depth int) error {
	for range n {
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

func (s *nodeScan) list(tag, depth int) error {
	size, err := s.listSize(tag)
	if err != nil {
		return err
	}
	for range size {
		if err := s.node(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

func (s *nodeScan) listSize(tag int) (size int, err error) {
	switch tag {
	case token.ListEmpty:
		return 0, nil
	case token.List8:
		size, err = s.uint(1)
	case token.List16:
		size, err = s.uint(2)
	default:
		return 0, errBadToken
	}
	if s.lists += size; s.lists > maxNodeLists {
		return 0, errNodeTooBig
	}
	return size, err
}

// sized skips a length of that many bytes, masked, and what it announces.
func (s *nodeScan) sized(bytes, mask int) error {
	n, err := s.uint(bytes)
	if err != nil {
		return err
	}
	return s.skip(n & mask)
}

func (s *nodeScan) uint(n int) (v int, err error) {
	if len(s.data) < n {
		return 0, io.ErrUnexpectedEOF
	}
	for _, b := range s.data[:n] {
		v = v<<8 | int(b)
	}
	s.data = s.data[n:]
	return v, nil
}

func (s *nodeScan) skip(n int) error {
	if len(s.data) < n {
		return io.ErrUnexpectedEOF
	}
	s.data = s.data[n:]
	return nil
}
