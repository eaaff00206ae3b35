package settings

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Read fills the fields from the environment of the process. What is wrong with
// it is returned to be added to; the fields that it is about have no value.
func Read[T any]() (T, *Mistakes) { return ReadFrom[T](os.Environ()) }

// ReadFrom does the same with another environment, NAME=value.
func ReadFrom[T any](environ []string) (T, *Mistakes) {
	options := env.Options{Environment: given(environ)}
	wrong := &Mistakes{}
	var into T
	if env.ParseWithOptions(&into, options) == nil {
		return into, wrong
	}
	for _, field := range fieldsOf(reflect.TypeFor[T]()) {
		// One by one: the library names the fields, of which two may have the same name.
		alone := reflect.New(reflect.StructOf([]reflect.StructField{field.field}))
		if env.ParseWithOptions(alone.Interface(), options) != nil {
			wrong.Add(&Mistake{field.variable, "must be " + kindOf(field.field.Type)})
		}
	}
	if len(wrong.list) == 0 { // the struct is wrong, not the environment
		wrong.Add(errors.New("the environment cannot be read"))
	}
	return into, wrong
}

// given is what is set and not empty.
func given(environ []string) map[string]string {
	variables := map[string]string{}
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); value != "" {
			variables[name] = value
		}
	}
	return variables
}

// field is one variable.
type field struct {
	variable string
	field    reflect.StructField
}

// fieldsOf lists the variables of a struct, those of embedded groups among them.
func fieldsOf(t reflect.Type) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		variable, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		switch {
		case variable != "" && f.IsExported():
			all = append(all, field{variable, f})
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			all = append(all, fieldsOf(f.Type)...)
		}
	}
	return all
}

// kindOf is what a value must be, for people.
func kindOf(t reflect.Type) string {
	if own, ok := reflect.Zero(t).Interface().(interface{ Kind() string }); ok {
		return own.Kind()
	}
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration such as 90s or 10m"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint16:
		return "a number from 0 to 65535"
	case reflect.Uint, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return "a whole number, not below 0"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a valid " + t.String()
}

// Mistake is what is wrong with one variable. It repeats no value.
type Mistake struct {
	Variable string
	Problem  string // goes on after the name: "must be positive"
}

func (m *Mistake) Error() string { return m.Variable + " " + m.Problem }

// Mistakes are all that is wrong with an environment. A variable's first one
// counts: one that could not be read is not judged too.
type Mistakes struct{ list []error }

// Add notes an error; its text begins with the name of a variable. Nil adds
// nothing.
func (m *Mistakes) Add(err error) {
	if err == nil {
		return
	}
	variable, _, _ := strings.Cut(err.Error(), " ")
	for _, known := range m.list {
		if named, _, _ := strings.Cut(known.Error(), " "); named == variable && isMistake(known) {
			return
		}
	}
	m.list = append(m.list, err)
}

func isMistake(err error) bool {
	var of *Mistake
	return errors.As(err, &of)
}

// Each calls with every variable that could not be read.
func (m *Mistakes) Each(call func(*Mistake)) {
	for _, known := range m.list {
		var of *Mistake
		if errors.As(known, &of) {
			call(of)
		}
	}
}

// Unless notes a mistake where something does not hold.
func (m *Mistakes) Unless(holds bool, format string, args ...any) {
	if !holds {
		m.Add(fmt.Errorf(format, args...))
	}
}

// Err is nil where nothing is wrong, and else ErrEnvironment with a line for each
// mistake.
func (m *Mistakes) Err() error {
	if len(m.list) == 0 {
		return nil
	}
	return wrong{errors.Join(m.list...)}
}

// ErrEnvironment: the environment is wrong, which no retry mends.
var ErrEnvironment = errors.New("the environment is wrong")

// wrong is ErrEnvironment with the text of the mistakes alone.
type wrong struct{ mistakes error }

func (w wrong) Error() string   { return w.mistakes.Error() }
func (w wrong) Unwrap() []error { return []error{ErrEnvironment, w.mistakes} }
