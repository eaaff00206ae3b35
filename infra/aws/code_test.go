package aws

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const sdk = "github.com/aws/aws-sdk-go-v2/"

// code is the source of a main, as far as it can lead to AWS: the packages of
// this module, and those of others that have a client of the SDK, without the
// SDK itself.
//
// What can be reached is found by names, not by types: a method may be called
// where its type is mentioned and its name is selected on anything. That finds
// too much rather than too little, but for what libraries call back; see callbacks.
type code struct {
	packages map[string]*source
	all      []*unit
	main     string
}

// source is a package.
type source struct {
	path    string
	imports []string
	units   map[string][]*unit // by name; methods of all types under theirs
}

// unit is a function, a method, or a type or variable of a package.
type unit struct {
	in         *source
	name       string
	receiver   string   // of a method
	initial    bool     // runs whether or not it is named
	mentions   []string // names in the package, and "path.Name" elsewhere
	selects    []string // names of methods, or of fields
	operations []string // calls to AWS, "service:Operation"
}

func (u *unit) String() string {
	name := strings.TrimPrefix(u.in.path, module) + "."
	if u.receiver != "" {
		name += u.receiver + "."
	}
	return name + u.name
}

// callbacks: who calls the first has the second called, by a library whose code
// is not looked at. Tink encrypts a keyset when it writes it.
var callbacks = map[string]string{
	"WriteWithContext": "EncryptWithContext",
	"ReadWithContext":  "DecryptWithContext",
}

// byOthers are methods that the standard library and others call by themselves.
var byOthers = strings.Fields(`ServeHTTP RoundTrip Do Error String LogValue Handle Read Write Close Connect Dial DialContext
	MarshalJSON MarshalText UnmarshalJSON UnmarshalText Collect Describe Login Renew Run`)

// codeOf reads the source of a main.
func codeOf(main string) (*code, error) {
	all, err := linked(main)
	if err != nil {
		return nil, err
	}
	c := &code{packages: map[string]*source{}, main: module + main}
	for _, one := range all {
		ours := strings.HasPrefix(one.ImportPath, module)
		client := slices.ContainsFunc(one.Imports, func(path string) bool { return strings.HasPrefix(path, sdk+"service/") })
		if one.Standard || strings.HasPrefix(one.ImportPath, sdk) || !(ours || client) {
			continue
		}
		in := &source{path: one.ImportPath, imports: one.Imports, units: map[string][]*unit{}}
		c.packages[one.ImportPath] = in
		for _, name := range one.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(one.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			c.add(in, file)
		}
	}
	return c, nil
}

func (c *code) add(in *source, file *ast.File) {
	aliases := map[string]string{}
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := filepath.Base(path)
		if len(name) > 1 && name[0] == 'v' && name[1] >= '0' && name[1] <= '9' {
			name = filepath.Base(filepath.Dir(path))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		aliases[name] = path
	}
	unitOf := func(name, receiver string, node ast.Node) {
		u := &unit{in: in, name: name, receiver: receiver, initial: name == "init" && receiver == ""}
		u.look(node, aliases)
		in.units[name] = append(in.units[name], u)
		c.all = append(c.all, u)
	}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			unitOf(d.Name.Name, receiverOf(d), d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					unitOf(s.Name.Name, "", s)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						unitOf(name.Name, "", s)
					}
				}
			}
		}
	}
}

func receiverOf(d *ast.FuncDecl) (name string) {
	if d.Recv == nil {
		return ""
	}
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return true
	})
	return name
}

// look collects what a declaration mentions.
func (u *unit) look(node ast.Node, aliases map[string]string) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if from, ok := n.X.(*ast.Ident); ok && aliases[from.Name] != "" {
				u.mentions = append(u.mentions, aliases[from.Name]+"."+n.Sel.Name)
				u.selects = append(u.selects, callbacks[n.Sel.Name])
				if aliases[from.Name] == sdk+"feature/rds/auth" && n.Sel.Name == "BuildAuthToken" {
					u.operations = append(u.operations, "rds-db:connect")
				}
				return false
			}
			u.selects = append(u.selects, n.Sel.Name, callbacks[n.Sel.Name])
		case *ast.Ident:
			u.mentions = append(u.mentions, n.Name)
		case *ast.CompositeLit:
			// Every operation has an input of its own.
			if of, ok := n.Type.(*ast.SelectorExpr); ok {
				from, _ := of.X.(*ast.Ident)
				operation, isInput := strings.CutSuffix(of.Sel.Name, "Input")
				if service, isClient := strings.CutPrefix(aliases[from.Name], sdk+"service/"); isInput && isClient {
					u.operations = append(u.operations, service+":"+operation)
				}
			}
		case *ast.BasicLit:
			if strings.Contains(n.Value, "/task-protection/v1/state") { // the ECS agent asks in the task's name
				u.operations = append(u.operations, "ecs:UpdateTaskProtection")
			}
		}
		return true
	})
}

// reachable are the units that main can lead to.
func (c *code) reachable() (all []*unit) {
	live, selected := map[*unit]bool{}, map[string]bool{}
	for _, name := range byOthers {
		selected[name] = true
	}
	types := map[string]bool{} // "path.Name"
	var reach func(u *unit)
	reach = func(u *unit) {
		if live[u] {
			return
		}
		live[u] = true
		all = append(all, u)
		for _, mention := range u.mentions {
			in, name := u.in, mention
			if dot := strings.LastIndexByte(mention, '.'); dot >= 0 {
				in, name = c.packages[mention[:dot]], mention[dot+1:]
			}
			if in == nil {
				continue
			}
			types[in.path+"."+name] = true
			for _, to := range in.units[name] {
				if to.receiver == "" {
					reach(to)
				}
			}
		}
		for _, name := range u.selects {
			selected[name] = true
			selected[u.in.path+"."+name] = true
		}
	}
	for _, u := range c.all {
		if u.initial || (u.in.path == c.main && u.name == "main") {
			reach(u)
		}
	}
	for grew := true; grew; {
		before := len(all)
		for _, u := range c.all {
			if u.receiver == "" || !types[u.in.path+"."+u.receiver] {
				continue
			}
			// What is not exported only its own package can call.
			if name := u.name; selected[u.in.path+"."+name] || (ast.IsExported(name) && selected[name]) {
				reach(u)
			}
		}
		grew = len(all) > before
	}
	return all
}
