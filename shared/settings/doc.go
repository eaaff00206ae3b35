// Package settings is how every program reads its environment: one typed struct
// of its own with the tags of caarlos0/env, in which the groups are embedded that
// several programs share ([Database]).
//
//	type config struct {
//		settings.Database
//		Slots    int            `env:"SLOTS" envDefault:"200"`
//		LogLevel settings.Level `env:"LOG_LEVEL" envDefault:"INFO"`
//	}
//
//	func readConfig() (config, error) {
//		c, wrong := settings.Read[config]()
//		c.Database.Check(wrong)
//		wrong.Unless(c.Slots > 0, "SLOTS must be positive")
//		return c, wrong.Err()
//	}
//
// An empty variable counts as one that is not set: templates pass parameters on
// that nobody gave.
//
// All mistakes are reported together, by the names of the variables and never with
// their values, some of which are secrets. [Print] shows what a program would run
// with, for its flag -print-config; a field that holds a secret says so with the
// tag secret:"true", or secret:"url" for a URL with a password in it.
package settings
