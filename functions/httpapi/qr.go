package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	qrcode "github.com/skip2/go-qrcode"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/shared/session"
)

// pixelsPerModule makes a code of about 500 pixels, which a phone reads from a
// screen at arm's length.
const pixelsPerModule = 7

const pngType = "image/png"

// form is how a QR code is sent.
type form int

const (
	formJSON form = iota // value, PNG in base64 and expiry
	formRaw              // the value alone, as JSON
	formPNG              // an image
)

type qrBody struct {
	Value     string    `json:"value"`
	MIMEType  string    `json:"mimetype"`
	Data      []byte    `json:"data"` // base64 in JSON
	ExpiresAt time.Time `json:"expiresAt"`
}

// qr answers GET /api/{session}/auth/qr in the form that the query and the
// header Accept ask for.
func (h *Handler) qr(c *call) error {
	form, err := formOf(c.r.URL.Query(), c.r.Header)
	if err != nil {
		return err
	}
	return h.answerQR(c, form)
}

// qrJSON answers GET /api/sessions/{session}/qrcode.
func (h *Handler) qrJSON(c *call) error { return h.answerQR(c, formJSON) }

func (h *Handler) answerQR(c *call, as form) error {
	code, err := h.control.QR(c.context(), c.caller.Tenant, c.session)
	if err != nil {
		return err
	}
	if as == formRaw {
		return writeJSON(c, http.StatusOK, map[string]string{"value": code.Value})
	}
	image, err := drawQR(code)
	if err != nil {
		return err
	}
	if as == formPNG {
		return writeBytes(c, http.StatusOK, pngType, image)
	}
	return writeJSON(c, http.StatusOK, qrBody{Value: code.Value, MIMEType: pngType, Data: image, ExpiresAt: code.ExpiresAt.UTC()})
}

// formOf decides the form. An explicit format wins over Accept, except that a
// caller of format=image that accepts JSON gets the image inside JSON.
func formOf(query url.Values, header http.Header) (form, error) {
	accept := strings.ToLower(strings.Join(header.Values("Accept"), ","))
	json, png := strings.Index(accept, "application/json"), strings.Index(accept, pngType)
	pngFirst := png >= 0 && (json < 0 || png < json)
	formats := query["format"]
	if len(formats) == 0 {
		formats = []string{""}
	}
	switch {
	case len(formats) > 1:
	case formats[0] == "raw":
		return formRaw, nil
	case formats[0] == "image" && (json < 0 || pngFirst):
		return formPNG, nil
	case formats[0] == "" && pngFirst:
		return formPNG, nil
	case formats[0] == "" || formats[0] == "image":
		return formJSON, nil
	}
	return 0, &session.FieldError{Field: "format", Problem: "must be image or raw"}
}

func drawQR(code control.QR) ([]byte, error) {
	drawn, err := qrcode.New(code.Value, qrcode.Low)
	if err != nil {
		return nil, fmt.Errorf("draw the QR code: %w", err)
	}
	image, err := drawn.PNG(-pixelsPerModule) // negative: pixels per module
	if err != nil {
		return nil, fmt.Errorf("draw the QR code: %w", err)
	}
	return image, nil
}
