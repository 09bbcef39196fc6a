// Package atomicfile replaces files whole or not at all.
//
// Contents go to a temporary file in the target's own folder, are synced, and
// take the target's name by a rename. Whatever fails before that leaves the
// target as it was and no temporary file behind. [Write] does one file; a
// [Set] stages several and commits them together.
//
// A missing folder is an error and is never created. A link is followed, so
// that it stays a link. A target that exists but is not a regular file (a
// device, a pipe) cannot be replaced: its contents are collected first and
// copied into it last.
package atomicfile
