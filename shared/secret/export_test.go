package secret

import "time"

// WithPatience shortens what a call of KMS may take.
func (b *Box) WithPatience(d time.Duration) *Box {
	b.source.(*fleet).kms.patience = d
	return b
}
