// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package model owns what a model is: the artifact formats that carry one, and
// the facts that its files state about it.
//
// # Start here
//
// [Build] turns the MLX safetensors at an [Origin] into an [Artifact], a
// bundle.Source that any target can copy; [Artifact.In] is the same model in
// the other format. [Dir] is the origin that is a directory. [Read] and [Parse]
// turn a manifest that someone else wrote into a [Model]: files with their
// paths, kinds and descriptors, and the metadata of its config. [Pull] writes a
// model's files into a directory. [Lint] and [LintArtifact] say what is wrong
// with a model before anybody has to download it.
//
// # How it works
//
// A model is one image manifest with one uncompressed layer per file. The
// path stands twice in each layer's annotations, once for readers of ModelPack
// and Docker models and once for oras, so that each of them gets a loadable
// directory. Layers are sorted by path; nothing in the artifact depends on a
// clock, on modes, owners or the directory's place, so equal files give equal
// digests. Both formats name the same blobs.
//
// An origin lists its files and opens them at an offset. Where it knows a
// sha256, the file is not hashed before it is copied, only verified then; of
// weights the header alone is read. So a repository of a hub goes into a
// registry without lying on a disk. A directory knows what its [Memo] remembers.
// Other files are hashed while they are sent, or written, if [Build] is told where
// to ([Into]), once the lint has passed; those that the place probably has, by
// their size, are hashed first, because that is cheaper than to send them again.
//
// Parameters are counted from the tensor shapes of all shards: where config.json
// declares quantization, a packed 32-bit word holds 32/bits weights, the bits
// of its layer, and the scales and biases that go with it are not parameters.
// Which parser reads tool calls and reasoning is guessed from what the chat
// template writes.
//
// # Promises
//
// Files are never changed and never held in memory; each is read once, or twice
// where it has to be hashed first, and one that changes in between is refused. What
// is sent before there is a manifest is named by nothing until the copy ends.
// Safetensors headers are parsed strictly ([ReadHeader]): no allocation before
// the length is checked, offsets that tile the data exactly, shapes that agree
// with them. Whatever is read from a manifest or an archive layer passes
// bundle.CheckPath, and no two land on one file. Code, pickles and files of
// unknown kind are refused by name.
package model
