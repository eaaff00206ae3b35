package wasim

import (
	"html/template"
	"net/http"
)

// controlPage is what a person sees at the control port.
var controlPage = template.Must(template.New("control").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>wasim</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}td,th{text-align:left;padding:.1em 1em .1em 0}code{background:#8882}</style>
<h1>wasim, the WhatsApp simulator</h1>
<p>Clients dial <code>{{.Addr}}</code>. {{.Stats.Open}} open, {{.Stats.Authed}} logged in,
at most {{.Stats.MaxSocketsPerDevice}} socket(s) at once for one device.</p>
<h2>Control API</h2>
<table>{{range .Routes}}<tr><td><code>{{.Method}} {{.Path}}</code></td><td>{{.Help}}</td></tr>{{end}}</table>
<h2>Devices</h2>
{{if .Devices}}<table><tr><th>JID<th>platform<th>sockets<th>logins<th>paired</tr>
{{range .Devices}}<tr><td><code>{{.JID}}</code></td><td>{{.Platform}}</td><td>{{.Sockets}}</td><td>{{.Logins}}</td><td>{{.Paired.Format "2006-01-02 15:04:05"}}</td></tr>{{end}}
</table>{{else}}<p>None yet: POST /scan with a number and the text of a QR code.</p>{{end}}
{{if .More}}<p>... and {{.More}} more, see <code>GET /devices</code>.</p>{{end}}
</html>
`))

// maxPageDevices bounds the page's table.
const maxPageDevices = 200

type pageRoute struct{ Method, Path, Help string }

func (s *Server) serveControlPage(w http.ResponseWriter) {
	devices := s.Devices()
	more := max(len(devices)-maxPageDevices, 0)
	devices = devices[:len(devices)-more]
	var routes []pageRoute
	for _, rt := range controlRoutes {
		routes = append(routes, pageRoute{rt.method, rt.path, rt.help})
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = controlPage.Execute(w, struct {
		Addr    string
		Stats   Stats
		Routes  []pageRoute
		Devices []DeviceInfo
		More    int
	}{s.DialAddr(), s.Stats(), routes, devices, more})
}
