package aws

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// object is a mapping of a template.
type object = map[string]any

// decode reads a template into maps, lists and scalars. The short forms of
// CloudFormation's functions become the long ones: !Ref x is {"Ref": "x"}.
func decode(text []byte) (object, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	if len(file.Docs) != 1 {
		return nil, fmt.Errorf("%d documents in one file", len(file.Docs))
	}
	read, err := valueOf(file.Docs[0].Body)
	if err != nil {
		return nil, err
	}
	top, ok := read.(object)
	if !ok {
		return nil, fmt.Errorf("a template is a mapping, not %T", read)
	}
	return top, nil
}

func valueOf(node ast.Node) (any, error) {
	switch n := node.(type) {
	case nil:
		return nil, nil
	case *ast.TagNode:
		inner, err := valueOf(n.Value)
		if err != nil {
			return nil, err
		}
		return function(strings.TrimPrefix(n.Start.Value, "!"), inner), nil
	case *ast.MappingNode:
		return mapping(n.Values)
	case *ast.MappingValueNode:
		return mapping([]*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		list := []any{}
		for _, item := range n.Values {
			v, err := valueOf(item)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode:
		return number(n.Value), nil
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.NullNode:
		return nil, nil
	}
	return nil, fmt.Errorf("line %d: %T is not read", node.GetToken().Position.Line, node)
}

func mapping(pairs []*ast.MappingValueNode) (any, error) {
	all := object{}
	for _, pair := range pairs {
		key := pair.Key.String()
		if text, ok := pair.Key.(*ast.StringNode); ok {
			key = text.Value
		}
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", pair.GetToken().Position.Line, key)
		}
		v, err := valueOf(pair.Value)
		if err != nil {
			return nil, err
		}
		all[key] = v
	}
	return all, nil
}

// number makes one type of the parser's two.
func number(n any) any {
	switch n := n.(type) {
	case int64:
		return int(n)
	case uint64:
		return int(n) // #nosec G115 -- no number of a template is that large
	}
	return n
}

// function is the long form of a tag.
func function(name string, inner any) any {
	switch name {
	case "Ref", "Condition":
		return object{name: inner}
	case "GetAtt":
		if text, ok := inner.(string); ok {
			resource, attribute, _ := strings.Cut(text, ".")
			inner = []any{resource, attribute}
		}
	}
	return object{"Fn::" + name: inner}
}
