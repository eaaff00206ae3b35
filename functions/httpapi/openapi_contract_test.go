package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/contract"
)

// holdToContract compares every answer that a test gets with the published
// contract. A benchmark measures the API, not the comparison.
func (s *service) holdToContract(request *http.Request, recorder *httptest.ResponseRecorder) {
	s.Helper()
	if _, measures := s.TB.(*testing.B); !measures {
		contract.Check(s.TB, request, recorder.Result())
	}
}
