// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package tinymodel

// byteRunes is the byte-level alphabet of GPT-2: printable Latin-1 stands for
// itself, every other byte for a code point from 256 on.
func byteRunes() [256]rune {
	var out [256]rune
	next := rune(256)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= '¡' && b <= '¬' || b >= '®' {
			out[b] = b
			continue
		}
		out[b] = next
		next++
	}
	return out
}

// merges returns n pairs of single-byte tokens, no pair twice: a blank before
// a letter, then the syllables of letters and vowels.
func merges(n int) [][2]string {
	const letters, vowels = "abcdefghijklmnopqrstuvwxyz", "aeiou"
	blank := string(byteRunes()[' '])
	var out [][2]string
	seen := map[string]bool{}
	add := func(a, b string) {
		if !seen[a+b] && len(out) < n {
			seen[a+b] = true
			out = append(out, [2]string{a, b})
		}
	}
	for _, l := range letters {
		add(blank, string(l))
	}
	for _, l := range letters {
		for _, v := range vowels {
			add(string(l), string(v))
			add(string(v), string(l))
		}
	}
	return out
}

// tokenizer is tokenizer.json: byte-level BPE.
func tokenizer() map[string]any {
	vocab := make(map[string]int, vocabSize)
	for _, r := range byteRunes() {
		vocab[string(r)] = len(vocab)
	}
	specials := []string{endOfText, imStart, imEnd}
	pairs := merges(vocabSize - len(vocab) - len(specials))
	lines := make([]string, len(pairs))
	for i, p := range pairs {
		vocab[p[0]+p[1]] = len(vocab)
		lines[i] = p[0] + " " + p[1]
	}
	added := make([]map[string]any, len(specials))
	for i, s := range specials {
		added[i] = map[string]any{
			"id": len(vocab), "content": s, "special": true,
			"single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
		}
		vocab[s] = len(vocab)
	}
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	return map[string]any{
		"version":        "1.0",
		"truncation":     nil,
		"padding":        nil,
		"added_tokens":   added,
		"normalizer":     nil,
		"pre_tokenizer":  byteLevel,
		"post_processor": nil,
		"decoder":        byteLevel,
		"model": map[string]any{
			"type": "BPE", "dropout": nil, "unk_token": nil,
			"continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
			"vocab": vocab, "merges": lines,
		},
	}
}
