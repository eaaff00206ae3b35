package settings_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/settings"
)

// config has every kind of field that the programs have. Its Port has the name of
// another one in a group.
type config struct {
	settings.Database
	Port  uint16         `env:"PORT" envDefault:"8080"`
	Slots int            `env:"SLOTS" envDefault:"200"`
	Rate  float64        `env:"RATE" envDefault:"50"`
	Pause time.Duration  `env:"PAUSE" envDefault:"15s"`
	Loud  bool           `env:"LOUD" envDefault:"false"`
	Key   string         `env:"KEY" secret:"true"`
	Level settings.Level `env:"LOG_LEVEL" envDefault:"INFO"`

	derived string
}

func TestDefaultsAndValues(t *testing.T) {
	t.Parallel()
	c, wrong := settings.ReadFrom[config]([]string{"SLOTS=3", "PAUSE=", "LOG_LEVEL=debug", "DATABASE_PORT=6432", "OTHER=x"})
	if err := wrong.Err(); err != nil {
		t.Fatal(err)
	}
	if c.Slots != 3 || c.Pause != 15*time.Second || c.Level.Level() >= 0 || c.Port != 8080 || c.Database.Port != 6432 || c.Name != "wafleet" || c.derived != "" {
		t.Errorf("%+v", c)
	}
}

func TestAllMistakesAreNamedTogether(t *testing.T) {
	t.Parallel()
	c, wrong := settings.ReadFrom[config]([]string{
		"SLOTS=hidden", "PAUSE=hidden", "LOG_LEVEL=hidden", "RATE=hidden", "LOUD=hidden", "PORT=hidden", "DATABASE_PORT=hidden", "KEY=hidden",
		"DATABASE_URL=postgres://u:hidden@h/d",
	})
	wrong.Unless(c.Slots > 0, "SLOTS must be positive")
	c.Database.Check(wrong)
	err := wrong.Err()
	want := strings.Join([]string{
		"DATABASE_PORT must be a number from 0 to 65535",
		"PORT must be a number from 0 to 65535",
		"SLOTS must be a whole number",
		"RATE must be a number",
		"PAUSE must be a duration such as 90s or 10m",
		"LOUD must be true or false",
		"LOG_LEVEL must be one of DEBUG, INFO, WARN, ERROR",
		"DATABASE_URL must say sslmode: verify-full, or disable for a server on this machine",
	}, "\n")
	if !errors.Is(err, settings.ErrEnvironment) || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

const arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:rds!db-AbCdEf"

func TestTheDatabaseIsGivenInOneWay(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		environ []string
		says    []string // nothing: it is fine
	}{
		"a URL":               {[]string{"DATABASE_URL=postgres://u:hidden@h/d?sslmode=disable"}, nil},
		"a secret":            {[]string{"DATABASE_HOST=h", "DATABASE_SECRET=" + arn}, nil},
		"a secret and all":    {[]string{"DATABASE_HOST=::1", "DATABASE_PORT=1", "DATABASE_NAME=a/b?c", "DATABASE_USER=u", "DATABASE_SSLMODE=verify-ca", "DATABASE_CA=" + ca, "DATABASE_SECRET=" + arn}, nil},
		"IAM":                 {[]string{"DATABASE_HOST=h", "DATABASE_IAM_AUTH=true", "DATABASE_USER=u"}, nil},
		"IAM on this machine": {[]string{"DATABASE_HOST=127.0.0.1", "DATABASE_IAM_AUTH=true", "DATABASE_USER=u", "DATABASE_SSLMODE=disable"}, nil},

		"nothing":               {nil, []string{"DATABASE_URL is missing"}},
		"both":                  {[]string{"DATABASE_URL=postgres://h/d", "DATABASE_HOST=h"}, []string{"DATABASE_URL and DATABASE_HOST must not"}},
		"a URL with a secret":   {[]string{"DATABASE_URL=postgres://h/d?sslmode=disable", "DATABASE_SECRET=" + arn}, []string{"DATABASE_SECRET and DATABASE_IAM_AUTH belong"}},
		"nobody":                {[]string{"DATABASE_HOST=h"}, []string{"DATABASE_HOST needs"}},
		"both logins":           {[]string{"DATABASE_HOST=h", "DATABASE_SECRET=" + arn, "DATABASE_IAM_AUTH=1"}, []string{"DATABASE_SECRET and DATABASE_IAM_AUTH must not"}},
		"IAM of nobody":         {[]string{"DATABASE_HOST=h", "DATABASE_IAM_AUTH=true"}, []string{"DATABASE_USER is missing"}},
		"a token in clear":      {[]string{"DATABASE_HOST=h", "DATABASE_IAM_AUTH=true", "DATABASE_USER=u", "DATABASE_SSLMODE=disable"}, []string{"DATABASE_SSLMODE must not"}},
		"no ARN":                {[]string{"DATABASE_HOST=h", "DATABASE_SECRET=hidden"}, []string{"DATABASE_SECRET must be the ARN"}},
		"no CA":                 {[]string{"DATABASE_HOST=h", "DATABASE_SECRET=" + arn, "DATABASE_CA=/hidden"}, []string{"DATABASE_CA must name"}},
		"an odd mode":           {[]string{"DATABASE_HOST=h", "DATABASE_SECRET=" + arn, "DATABASE_SSLMODE=hidden"}, []string{"DATABASE_SSLMODE must be"}},
		"all of it, all wrong":  {[]string{"DATABASE_HOST=h", "DATABASE_PORT=0", "DATABASE_SECRET=hidden", "DATABASE_CA=/hidden", "DATABASE_SSLMODE=prefer"}, []string{"DATABASE_PORT", "DATABASE_SSLMODE", "DATABASE_CA", "DATABASE_SECRET"}},
		"a URL without sslmode": {[]string{"DATABASE_URL=postgres://u:hidden@h/d"}, []string{"DATABASE_URL must say sslmode"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, wrong := settings.ReadFrom[settings.Database](test.environ)
			d.Check(wrong)
			err := wrong.Err()
			if len(test.says) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(test.says) {
				t.Fatalf("%d mistakes, want %d: %v", len(lines), len(test.says), err)
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, test.says[i]) || strings.Contains(line, "hidden") {
					t.Errorf("%q, want %q", line, test.says[i])
				}
			}
		})
	}
}

func TestTheTableHasNoSecrets(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"KEY=hidden": "KEY (secret) environment",
		"KEY=":       "KEY (unset) default",
		"DATABASE_URL=postgres://u:hidden@h:1/d?sslmode=disable":      "DATABASE_URL postgres://u:xxxxx@h:1/d?sslmode=disable environment",
		"DATABASE_URL=postgres://h/d?password=hidden&sslmode=disable": "DATABASE_URL postgres://h/d?password=xxxxx&sslmode=disable environment",
		"DATABASE_URL=host=h password=hidden":                         "DATABASE_URL (secret) environment",
		"DATABASE_URL=postgres://u:%zzhidden@h/d":                     "DATABASE_URL (secret) environment",
		"SLOTS=7":                    "SLOTS 7 environment",
		"SLOTS=x":                    "SLOTS x environment",
		"PAUSE=":                     "PAUSE 15s default",
		"DATABASE_SECRET=" + arn:     "DATABASE_SECRET " + arn + " environment",
		"DATABASE_HOST=db.internal":  "DATABASE_HOST db.internal environment",
		"DATABASE_NAME=":             "DATABASE_NAME wafleet default",
		"DATABASE_URL=postgres://u@": "DATABASE_URL (secret) environment",
	} {
		var out bytes.Buffer
		if err := settings.Print[config](&out, []string{given}); err != nil {
			t.Fatal(err)
		}
		found := false
		for line := range strings.Lines(out.String()) {
			found = found || strings.Join(strings.Fields(line), " ") == want
		}
		if !found || strings.Contains(out.String(), "hidden") {
			t.Errorf("%s: %q is not in\n%s", given, want, &out)
		}
	}
}

// The environment belongs to the process, so this one is not parallel.
func TestTheTableComesBeforeTheMistakes(t *testing.T) {
	read := func() (config, error) {
		c, wrong := settings.Read[config]()
		return c, wrong.Err()
	}
	for value, code := range map[string]int{"7": 0, "hidden": 2} {
		t.Setenv("SLOTS", value)
		var out, problems bytes.Buffer
		if got := settings.Show(&out, &problems, read); got != code || !strings.Contains(out.String(), "SLOTS") {
			t.Errorf("%s: exit %d\n%s", value, got, &out)
		}
		if says := problems.String(); (says != "") != (code != 0) || code != 0 && says != "the environment is wrong:\nSLOTS must be a whole number\n" {
			t.Errorf("%s: %q", value, says)
		}
	}
	for line, asked := range map[string]bool{"-print-config": true, "--print-config": true, "": false, "x": false} {
		if settings.Asked(strings.Fields(line)) != asked {
			t.Errorf("%q", line)
		}
	}
}
