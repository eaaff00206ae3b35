// Package contract holds answers of the API against the published contract, the
// OpenAPI document of functions/httpapi. It is for tests: those of httpapi, and
// those that run the whole system from outside.
//
// # What is held
//
// The operation is found by method and path, by the rules of the document alone:
// this package knows no route of the API. Then status, headers, media type and
// body must be in the document, and nothing else may be: a header that no list
// names and a field that no schema knows are mistakes too. A code in an error
// body must be one that the response lists and must belong to its status. A
// compressed body is unpacked first, and its Vary has to say so to caches; what
// has no body (304) must not describe one.
//
// What does not depend on an endpoint (an unknown path, a wrong method, OPTIONS)
// stands in the document under x-wafleet-everywhere.
//
// It lies below shared/e2e because only there may a package of shared import one
// of functions, and not below functions because tests of the system need it too.
package contract
