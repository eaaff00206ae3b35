// Package release tests what is built and shipped: the image of connector/Dockerfile,
// the functions that the Makefile builds for Lambda, the list of what they are made
// of, and the workflow that builds them. It has no code but tests.
//
// No container engine is needed. The tests read the Dockerfile themselves, run its
// build stage on this machine, put its last stages together in a directory, and run
// the programs there as an engine does: as process 1 of namespaces of their own, as
// the image's user, on a root that cannot be written to. That takes root on Linux;
// without it this part is skipped, and says so.
//
// What that does not show: that an engine reads the Dockerfile in the same way. The
// reader refuses everything it does not know, so that the file stays simple.
package release
