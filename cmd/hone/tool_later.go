package main

// laterVerb is a verb that docs/tool.md lists and that is not built yet: every line is answered with its name.
type laterVerb struct {
	Remotes string `hidden:"" help:"Folder of schemas to refer to."`
}

func (laterVerb) Help() string {
	return `Not built yet: every line is answered {"unsupported": "VERB"}.`
}

type (
	gradeVerb   struct{ laterVerb }
	followVerb  struct{ laterVerb }
	envStepVerb struct{ laterVerb }
	schemaVerb  struct{ laterVerb }
)

func answerLater(a *app, verb string) error {
	return a.serve(func([]byte) (any, error) { return nil, unsupported(verb) })
}

func (gradeVerb) Run(a *app) error   { return answerLater(a, "grade") }
func (followVerb) Run(a *app) error  { return answerLater(a, "follow") }
func (envStepVerb) Run(a *app) error { return answerLater(a, "env-step") }
func (schemaVerb) Run(a *app) error  { return answerLater(a, "schema") }
