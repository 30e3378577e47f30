package config

import (
	"encoding/json"
	"fmt"
)

// Schema returns the JSON Schema (draft 2020-12) of the cluster file, for editors
// and other tools. It says less than LoadCluster where JSON Schema cannot: rules
// between keys in different places, such as spec types that exist.
func Schema() []byte {
	s := clusterFile().schema.with(schema{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "Tenks cluster file",
	})
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil { // only texts and numbers: cannot happen
		panic(fmt.Sprintf("cluster file: schema: %v", err))
	}
	return append(b, '\n')
}
