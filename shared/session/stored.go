package session

// Stored is a config as it is kept.
type Stored struct {
	Config Config // without its secrets
	// Secrets is the whole config, encrypted; nil where it has no secrets.
	Secrets []byte
}
