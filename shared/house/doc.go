// Package house holds the rules of the code base as tests: who may import
// whom, where SQL may stand, which licences each program links, and that the
// README's tables say what the code does. It has no code but tests.
package house
