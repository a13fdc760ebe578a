// Asks a server through OpenFeature's OFREP provider for Go. The first argument is the
// address; the others are flag, default (JSON) and context (JSON), three by three.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"
)

func main() {
	if err := openfeature.SetProviderAndWait(ofrep.NewProvider(os.Args[1])); err != nil {
		panic(err)
	}
	client := openfeature.NewClient("test")
	found := []map[string]any{}
	for rest := os.Args[2:]; len(rest) >= 3; rest = rest[3:] {
		var fallback any
		var attributes map[string]any
		must(json.Unmarshal([]byte(rest[1]), &fallback))
		must(json.Unmarshal([]byte(rest[2]), &attributes))
		key, _ := attributes["targetingKey"].(string)
		delete(attributes, "targetingKey")
		who := openfeature.NewEvaluationContext(key, attributes)
		found = append(found, ask(client, rest[0], fallback, who))
	}
	must(json.NewEncoder(os.Stdout).Encode(found))
}

func ask(client *openfeature.Client, flag string, fallback any, who openfeature.EvaluationContext) map[string]any {
	ctx := context.Background()
	switch value := fallback.(type) {
	case bool:
		d, _ := client.BooleanValueDetails(ctx, flag, value, who)
		return details(d.Value, d.EvaluationDetails)
	case string:
		d, _ := client.StringValueDetails(ctx, flag, value, who)
		return details(d.Value, d.EvaluationDetails)
	case float64:
		if value != float64(int64(value)) {
			d, _ := client.FloatValueDetails(ctx, flag, value, who)
			return details(d.Value, d.EvaluationDetails)
		}
		d, _ := client.IntValueDetails(ctx, flag, int64(value), who)
		return details(d.Value, d.EvaluationDetails)
	default:
		d, _ := client.ObjectValueDetails(ctx, flag, value, who)
		return details(d.Value, d.EvaluationDetails)
	}
}

func details(value any, d openfeature.EvaluationDetails) map[string]any {
	return map[string]any{
		"value": value, "reason": d.Reason, "variant": d.Variant, "errorCode": d.ErrorCode,
		"flagMetadata": d.FlagMetadata,
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
