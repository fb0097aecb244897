// Renders a chart as Helm does: its engine, text/template, and its functions, sprig's and a few of its own.
// usage: helm CHART RELEASE [path=value]...     Debian: golang-go, sprig and yaml as -dev packages; no module is fetched.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"github.com/ghodss/yaml"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(path string, into interface{}) {
	text, err := os.ReadFile(path)
	check(err)
	// By way of JSON, so that every number is a float64, as with Helm.
	check(yaml.Unmarshal(text, into))
}

// As --set takes it; lists and objects as --set-json does.
func typed(word string) interface{} {
	if number, err := strconv.ParseInt(word, 10, 64); err == nil {
		return number
	}
	if truth, err := strconv.ParseBool(word); err == nil && len(word) > 1 {
		return truth
	}
	var list []interface{}
	if json.Unmarshal([]byte(word), &list) == nil {
		return list
	}
	var object map[string]interface{}
	if json.Unmarshal([]byte(word), &object) == nil {
		return object
	}
	return word
}

func set(values map[string]interface{}, path, word string) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		values = values[name].(map[string]interface{})
	}
	last := names[len(names)-1]
	if _, known := values[last]; !known {
		check(fmt.Errorf("no value %s", path))
	}
	values[last] = typed(word)
}

type files string

// Get gives a file of the chart.
func (directory files) Get(name string) string {
	text, err := os.ReadFile(filepath.Join(string(directory), name))
	check(err)
	return string(text)
}

func functions(all *template.Template) template.FuncMap {
	marshalled := func(marshal func(interface{}) ([]byte, error)) func(interface{}) string {
		return func(value interface{}) string {
			text, err := marshal(value)
			check(err)
			return strings.TrimSuffix(string(text), "\n")
		}
	}
	named := sprig.TxtFuncMap()
	delete(named, "env")
	delete(named, "expandenv")
	named["toYaml"] = marshalled(yaml.Marshal)
	named["toJson"] = marshalled(json.Marshal)
	named["include"] = func(name string, data interface{}) (string, error) {
		var text bytes.Buffer
		err := all.ExecuteTemplate(&text, name, data)
		return text.String(), err
	}
	return named
}

func main() {
	directory, release := os.Args[1], os.Args[2]
	var chart, values map[string]interface{}
	read(filepath.Join(directory, "Chart.yaml"), &chart)
	read(filepath.Join(directory, "values.yaml"), &values)
	for _, pair := range os.Args[3:] {
		words := strings.SplitN(pair, "=", 2)
		set(values, words[0], words[1])
	}

	// Stricter than Helm, for which a value that is not there is empty.
	all := template.New("chart").Option("missingkey=error")
	all.Funcs(functions(all))
	paths, err := filepath.Glob(filepath.Join(directory, "templates", "*.yaml"))
	check(err)
	base := chart["name"].(string) + "/templates"
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(err)
		template.Must(all.New(base + "/" + filepath.Base(path)).Parse(string(text)))
	}
	for _, path := range paths {
		name := base + "/" + filepath.Base(path)
		fmt.Println("---")
		check(all.ExecuteTemplate(os.Stdout, name, map[string]interface{}{
			"Values":   values,
			"Chart":    map[string]interface{}{"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
			"Release":  map[string]interface{}{"Name": release, "Namespace": "default", "Service": "Helm"},
			"Files":    files(directory),
			"Template": map[string]interface{}{"Name": name, "BasePath": base},
		}))
	}
}
