//go:build lambda.norpc

package cloud

var load = lean
