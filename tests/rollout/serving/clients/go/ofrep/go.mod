module clients/ofrep

go 1.25

require (
	github.com/open-feature/go-sdk v1.17.1
	github.com/open-feature/go-sdk-contrib/providers/ofrep v0.1.7
)

require github.com/go-logr/logr v1.4.3 // indirect
