package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func get(t *testing.T, route, path string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	newHandler(route).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	return recorder
}

func decode[T any](t *testing.T, answer *httptest.ResponseRecorder) T {
	t.Helper()
	var body T
	if answer.Code != http.StatusOK {
		t.Fatalf("answered %d", answer.Code)
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
		t.Fatalf("%q: %v", answer.Body, err)
	}
	return body
}

func TestHealthIsAnsweredAtTheRootAndBelowTheRoute(t *testing.T) {
	for _, path := range []string{"/health", "/orders/health"} {
		if body := decode[map[string]string](t, get(t, "/orders", path)); body["status"] != "ok" {
			t.Errorf("%s: %v", path, body)
		}
	}
}

func TestItemsHaveANameAndAStock(t *testing.T) {
	for _, route := range []string{"", "/", "/orders"} {
		items := decode[[]Item](t, get(t, route, strings.TrimRight(route, "/")+"/items"))
		if len(items) == 0 || items[0].Name == "" || items[0].Stock == 0 {
			t.Errorf("%q: %v", route, items)
		}
	}
}

func TestInfoShowsOnlyTheVariablesThatItMeansTo(t *testing.T) {
	t.Setenv("PASSWORD", "s3cret")
	answer := get(t, "", "/info")
	if body := decode[map[string]any](t, answer); body["version"] != version {
		t.Errorf("%v", body)
	}
	if strings.Contains(answer.Body.String(), "s3cret") {
		t.Error("a variable that is nobody's business")
	}
}

func TestTheRouteItselfSaysWhereToGo(t *testing.T) {
	for _, path := range []string{"/orders", "/orders/"} {
		for _, link := range decode[map[string]string](t, get(t, "/orders", path)) {
			decode[any](t, get(t, "/orders", link))
		}
	}
}

func TestWhatIsNotThereIsNotFoundAndWhatIsReadIsNotWritten(t *testing.T) {
	if code := get(t, "/orders", "/items").Code; code != http.StatusNotFound {
		t.Errorf("outside of the route: %d", code)
	}
	recorder := httptest.NewRecorder()
	newHandler("").ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/items", nil))
	if recorder.Code != http.StatusMethodNotAllowed {
		t.Errorf("a POST: %d", recorder.Code)
	}
}

func TestSecretsAreNamedAndNotShown(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "API_TOKEN"), []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names := secretNames(folder); len(names) != 1 || names[0] != "API_TOKEN" {
		t.Errorf("%v", names)
	}
	if names := secretNames(filepath.Join(folder, "none")); len(names) != 0 {
		t.Errorf("%v", names)
	}
}
