// A small web app for trying the platform, with one real dependency for its routes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
)

const slowMax = 10 * time.Minute

func routes() http.Handler {
	router := chi.NewRouter()
	router.Get("/", frontPage)
	router.Get("/env", environment)
	router.Get("/slow/{ms}", slow)
	return router
}

func frontPage(w http.ResponseWriter, _ *http.Request) {
	instance := os.Getenv("CF_INSTANCE_INDEX")
	if instance == "" {
		instance = "0"
	}
	fmt.Fprintf(w, "go sample, instance %s\n", instance)
}

func environment(w http.ResponseWriter, _ *http.Request) {
	variables := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		variables[name] = value
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(variables); err != nil {
		log.Printf("cannot send the environment: %v", err)
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(chi.URLParam(r, "ms"))
	if err != nil || ms < 0 {
		http.Error(w, "ms is a number of milliseconds", http.StatusBadRequest)
		return
	}
	wait := min(time.Duration(ms)*time.Millisecond, slowMax)
	select {
	case <-time.After(wait):
		fmt.Fprintf(w, "waited %d ms\n", wait.Milliseconds())
	case <-r.Context().Done():
	}
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{Addr: "0.0.0.0:" + port, Handler: routes(), ReadHeaderTimeout: 10 * time.Second}

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	finished := make(chan error)
	go func() {
		<-stop.Done()
		log.Print("stopping: finishing the open requests")
		finished <- server.Shutdown(context.Background())
	}()

	log.Printf("go sample listens on %s", port)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-finished; err != nil {
		log.Fatal(err)
	}
}
