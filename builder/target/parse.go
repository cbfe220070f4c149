// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"fmt"
	"strings"
)

// Caps on one marker, so that a hostile lock cannot exhaust the stack.
const (
	maxMarker      = 16 << 10 // bytes
	maxMarkerDepth = 64       // parentheses
)

// variableName maps a marker variable to its name; PEP 508 keeps old spellings.
func variableName(s string) (string, bool) {
	switch s {
	case "os.name", "os_name":
		return "os_name", true
	case "sys.platform", "sys_platform":
		return "sys_platform", true
	case "platform.machine", "platform_machine":
		return "platform_machine", true
	case "platform.version", "platform_version":
		return "platform_version", true
	case "platform.python_implementation", "python_implementation", "platform_python_implementation":
		return "platform_python_implementation", true
	case "python_version", "python_full_version", "platform_release", "platform_system", "implementation_name",
		"implementation_version", "extra", "extras", "dependency_groups":
		return s, true
	}
	return "", false
}

// markerParser reads the grammar of PEP 508 by recursive descent.
type markerParser struct {
	text  string
	pos   int
	depth int
}

func parseMarker(text string) (node, error) {
	if len(text) > maxMarker {
		return node{}, errors.New("too long")
	}
	p := &markerParser{text: text}
	n, err := p.joined("or")
	if err != nil {
		return node{}, err
	}
	if p.skip(); p.pos != len(p.text) {
		return node{}, fmt.Errorf("column %d: unexpected %q", p.pos+1, p.text[p.pos:])
	}
	return n, nil
}

// joined reads operands joined by the word, "or" binding less than "and".
func (p *markerParser) joined(word string) (node, error) {
	n := node{join: word}
	for {
		var arg node
		var err error
		if word == "or" {
			arg, err = p.joined("and")
		} else {
			arg, err = p.term()
		}
		if err != nil {
			return node{}, err
		}
		n.args = append(n.args, arg)
		if !p.word(word) {
			return n, nil
		}
	}
}

func (p *markerParser) term() (node, error) {
	if !p.token("(") {
		return p.comparison()
	}
	if p.depth++; p.depth > maxMarkerDepth {
		return node{}, errors.New("nested too deeply")
	}
	n, err := p.joined("or")
	if err != nil {
		return node{}, err
	}
	if !p.token(")") {
		return node{}, fmt.Errorf("column %d: want )", p.pos+1)
	}
	p.depth--
	return n, nil
}

func (p *markerParser) comparison() (node, error) {
	left, err := p.operand()
	if err != nil {
		return node{}, err
	}
	op, err := p.operator()
	if err != nil {
		return node{}, err
	}
	right, err := p.operand()
	return node{left: left, op: op, right: right}, err
}

func (p *markerParser) operator() (string, error) {
	for _, op := range []string{"===", "==", "~=", "!=", "<=", ">=", "<", ">"} {
		if p.token(op) {
			return op, nil
		}
	}
	if p.word("in") {
		return "in", nil
	}
	if p.word("not") && p.word("in") {
		return "not in", nil
	}
	return "", fmt.Errorf("column %d: want a comparison", p.pos+1)
}

func (p *markerParser) operand() (operand, error) {
	p.skip()
	if p.pos == len(p.text) {
		return operand{}, errors.New("ends too early")
	}
	if quote := p.text[p.pos]; quote == '\'' || quote == '"' {
		value, _, ok := strings.Cut(p.text[p.pos+1:], string(quote))
		if !ok {
			return operand{}, fmt.Errorf("column %d: the string has no end", p.pos+1)
		}
		p.pos += len(value) + 2
		return operand{value: value}, nil
	}
	start := p.pos
	for p.pos < len(p.text) && isNameByte(p.text[p.pos]) {
		p.pos++
	}
	name, ok := variableName(p.text[start:p.pos])
	if !ok {
		return operand{}, fmt.Errorf("column %d: %q is no marker variable", start+1, p.text[start:p.pos])
	}
	return operand{value: name, variable: true}, nil
}

func isNameByte(c byte) bool {
	return c == '_' || c == '.' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
}

func (p *markerParser) skip() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
}

// token takes s if it comes next.
func (p *markerParser) token(s string) bool {
	p.skip()
	if !strings.HasPrefix(p.text[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

// word takes s if it comes next as a whole word.
func (p *markerParser) word(s string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.text[p.pos:], s)
	if !ok || (rest != "" && isNameByte(rest[0])) {
		return false
	}
	p.pos += len(s)
	return true
}
