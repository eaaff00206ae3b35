package wasim

import (
	waBinary "go.mau.fi/whatsmeow/binary"
)

// pushedName is the app state that a phone shares with a companion.
type pushedName struct{}

func (s *Server) shareAppState(*conn, *device) {}

// appStateSync answers a fetch of app state collections: each is empty.
func (c *conn) appStateSync(request waBinary.Node) waBinary.Node {
	var list []waBinary.Node
	for _, want := range request.GetChildrenByTag("collection") {
		list = append(list, waBinary.Node{Tag: "collection", Attrs: waBinary.Attrs{
			"name": attrString(want, "name"), "type": "result", "version": "0",
		}})
	}
	return waBinary.Node{Tag: "sync", Content: list}
}

type nameState struct{}

func (n *nameState) load() *pushedName { return nil }
func (p *pushedName) save() *nameState { return nil }
