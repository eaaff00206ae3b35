package httpapi

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/wafleet/wafleet/functions/control"
)

func TestSecretsWithoutAKeyAreAProblemOfTheDeployment(t *testing.T) {
	t.Parallel()
	p := problemOf(fmt.Errorf("%w: config.proxy.password cannot be stored", control.ErrSecretsUnavailable))
	const want = "This deployment has no key to encrypt secrets with: config.proxy.password cannot be stored"
	if p.status != http.StatusNotImplemented || p.code != CodeSecretsUnavailable || p.message != want || p.retryAfter != 0 {
		t.Errorf("%+v", p)
	}
}
