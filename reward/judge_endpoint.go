package reward

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// EndpointJudge asks a server that speaks OpenAI's chat completions. It goes to the network only when it is asked, and only to URL.
type EndpointJudge struct {
	URL       string // up to the version, such as http://127.0.0.1:8080/v1
	Model     string
	Token     string // bearer token, "" = none; it is in no log and no error
	Scale     Scale
	Ask       func(c *Case) string // the question; nil = Scale.Question
	Timeout   time.Duration        // of one question with all its tries; 0 = one minute
	Retries   int                  // further tries after a reply of status 429 or 5xx, after 1, 2, 4 ... seconds
	Parallel  int                  // questions under way at once; 0 = 4
	MaxTokens int                  // of a reply; 0 = 256
	Client    *http.Client         // nil = http.DefaultClient
}

// Name implements Judge.
func (j *EndpointJudge) Name() string { return j.Model + " at " + j.URL }

// Judge implements Judge. Opinions stand in the order of the cases, whichever comes first.
func (j *EndpointJudge) Judge(ctx context.Context, cases []Case) ([]Opinion, error) {
	if err := j.Scale.Check(); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(j.URL, "http://") && !strings.HasPrefix(j.URL, "https://") {
		return nil, fmt.Errorf("the judge's address %q: want http:// or https:// and a server", j.URL)
	}
	parallel := j.Parallel
	if parallel <= 0 {
		parallel = 4
	}
	out := make([]Opinion, len(cases))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range cases {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			reply, err := j.ask(ctx, question(j.Ask, j.Scale, &cases[i]))
			if err != nil {
				out[i] = trouble(err)
				return
			}
			out[i] = j.Scale.heard(reply)
		})
	}
	wg.Wait()
	return out, ctx.Err()
}

// ask sends one question and returns the reply's text.
func (j *EndpointJudge) ask(ctx context.Context, text string) (string, error) {
	timeout := j.Timeout
	if timeout <= 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	maxTokens := j.MaxTokens
	if maxTokens <= 0 {
		maxTokens = 256
	}
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	body, err := json.Marshal(map[string]any{
		"model": j.Model, "messages": []message{{"user", text}}, "temperature": 0, "max_tokens": maxTokens,
	})
	if err != nil {
		return "", err
	}
	wait := time.Second
	for try := 0; ; try++ {
		reply, again, err := j.post(ctx, body)
		if err == nil || !again || try >= j.Retries {
			return reply, err
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-ctx.Done():
			return "", fmt.Errorf("%w; the last try: %v", ctx.Err(), err)
		}
	}
}

const maxReply = 1 << 20 // bytes

// post makes one request; again tells that the server may have an answer later.
func (j *EndpointJudge) post(ctx context.Context, body []byte) (reply string, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(j.URL, "/")+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return "", false, err
	}
	req.Header.Set("Content-Type", "application/json")
	if j.Token != "" {
		req.Header.Set("Authorization", "Bearer "+j.Token)
	}
	client := j.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return "", false, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return "", false, err
	}
	if res.StatusCode != http.StatusOK {
		return "", res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500, fmt.Errorf("the judge at %s answers %s: %.200q", j.URL, res.Status, text)
	}
	var got struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return "", false, fmt.Errorf("the judge at %s answers no chat completion: %w", j.URL, err)
	}
	if len(got.Choices) == 0 {
		return "", false, errors.New("the judge at " + j.URL + " answers a chat completion without choices")
	}
	return got.Choices[0].Message.Content, false, nil
}
