package main

import (
	"net/http/httptest"
	"testing"
)

func answer(path string) (int, string) {
	recorder := httptest.NewRecorder()
	routes().ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
	return recorder.Code, recorder.Body.String()
}

func TestFrontPageNamesTheSampleAndTheInstance(t *testing.T) {
	t.Setenv("CF_INSTANCE_INDEX", "3")

	_, body := answer("/")

	if body != "go sample, instance 3\n" {
		t.Errorf("front page says %q", body)
	}
}

func TestSlowWaitsAsLongAsItWasAskedTo(t *testing.T) {
	_, body := answer("/slow/5")

	if body != "waited 5 ms\n" {
		t.Errorf("slow says %q", body)
	}
}

func TestSlowRefusesWhatIsNotANumber(t *testing.T) {
	code, _ := answer("/slow/soon")

	if code != 400 {
		t.Errorf("slow answers %d", code)
	}
}
