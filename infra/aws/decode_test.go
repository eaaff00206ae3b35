package aws

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShortFormsAreRead(t *testing.T) {
	t.Parallel()
	got, err := decode([]byte(`
A: !Ref X
B: [!GetAtt P.Outputs.Q, {K: !Sub "a${Y}"}, !If [C, 1, !Ref AWS::NoValue]]
C: !Sub
  - "x${Z}"
  - Z: true
D: {E: "1", F: 0.5, G: }
H: !Not [!Condition I]
J: |
  two
  lines
`))
	want := object{
		"A": object{"Ref": "X"},
		"B": []any{
			object{"Fn::GetAtt": []any{"P", "Outputs.Q"}}, object{"K": object{"Fn::Sub": "a${Y}"}},
			object{"Fn::If": []any{"C", 1, object{"Ref": "AWS::NoValue"}}},
		},
		"C": object{"Fn::Sub": []any{"x${Z}", object{"Z": true}}},
		"D": object{"E": "1", "F": 0.5, "G": nil},
		"H": object{"Fn::Not": []any{object{"Condition": "I"}}},
		"J": "two\nlines\n",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, odd := range []string{"A: 1\nA: 2", "- 1", "A: [", "a: 1\n---\nb: 2"} {
		if got, err := decode([]byte(odd)); err == nil {
			t.Errorf("%q is read as %v", odd, got)
		}
	}
}
