// Asks flagd's own evaluator (its core, in Go) about every unit on standard input, one a
// line, and prints the variant of each. Arguments: the definition's file and the flag.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"github.com/open-feature/flagd/core/pkg/evaluator"
	"github.com/open-feature/flagd/core/pkg/logger"
	"github.com/open-feature/flagd/core/pkg/store"
	"github.com/open-feature/flagd/core/pkg/sync"
)

func main() {
	definition, err := os.ReadFile(os.Args[1])
	must(err)
	log := logger.NewLogger(nil, false)
	flags, err := store.NewStore(log, []string{"file"})
	must(err)
	json := evaluator.NewJSON(log, flags)
	must(json.SetState(sync.DataSync{FlagData: string(definition), Source: "file"}))
	lines, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		who := map[string]any{"targetingKey": lines.Text()}
		answer := json.ResolveAsAnyValue(context.Background(), "", os.Args[2], who)
		fmt.Fprintln(out, answer.Variant)
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
