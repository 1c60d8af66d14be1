package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"

	"github.com/hone-lm/hone/model/gguf"
	"github.com/hone-lm/hone/model/safetensors"
)

type inspectVerb struct{}

func (inspectVerb) Help() string {
	return `Fields: "path" of a file, or "base64", the whole file. The reply lists name, dtype (as the format calls it) and shape, rows first; a file
that is refused is a served line too.

  $ echo '{"path": "model.safetensors"}' | hone tool inspect
  {"ok":true,"tensors":[{"name":"model.norm.weight","dtype":"F32","shape":[64]}]}
  $ echo '{"base64": "AA=="}' | hone tool inspect
  {"ok":false,"error":"..."}`
}

type tensorInfo struct {
	Name  string `json:"name"`
	Dtype string `json:"dtype"`
	Shape []int  `json:"shape"`
}

type inspectReply struct {
	OK      bool         `json:"ok"`
	Tensors []tensorInfo `json:"tensors"`
}

type refusedReply struct {
	OK    bool   `json:"ok"`
	Error string `json:"error"`
}

func (inspectVerb) Run(a *app) error {
	return a.serve(func(line []byte) (any, error) {
		var req struct {
			Path   *string `json:"path,omitempty"`
			Base64 *string `json:"base64,omitempty"`
		}
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		if (req.Path == nil) == (req.Base64 == nil) {
			return nil, errors.New(`give either "path" or "base64"`)
		}
		var list []tensorInfo
		var err error
		if req.Path != nil {
			list, err = inspectFile(*req.Path)
		} else {
			data, decodeErr := base64.StdEncoding.DecodeString(*req.Base64)
			if decodeErr != nil {
				return nil, errors.New(`field "base64" is not standard base64 with padding`)
			}
			list, err = inspectBytes(bytes.NewReader(data), int64(len(data)), "base64")
		}
		if err != nil {
			return refusedReply{Error: oneLine(err.Error())}, nil
		}
		return inspectReply{OK: true, Tensors: list}, nil
	})
}

func inspectFile(path string) ([]tensorInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, errors.New(path + ": is a folder: name a safetensors or GGUF file in it")
	}
	return inspectBytes(f, st.Size(), path)
}

// inspectBytes checks a file whole and lists its tensors. The first four bytes tell the formats apart.
func inspectBytes(r io.ReaderAt, size int64, name string) ([]tensorInfo, error) {
	list := []tensorInfo{}
	var magic [4]byte
	if n, _ := r.ReadAt(magic[:], 0); n == 4 && string(magic[:]) == "GGUF" {
		f, err := gguf.New(r, size, name)
		if err != nil {
			return nil, err
		}
		for _, t := range f.Tensors {
			list = append(list, tensorInfo{t.Name, t.Type.String(), nonNil(t.Shape)})
		}
		return list, nil
	}
	f, err := safetensors.New(r, size, name)
	if err != nil {
		return nil, err
	}
	for _, t := range f.Tensors {
		list = append(list, tensorInfo{t.Name, string(t.Dtype), nonNil(t.Shape)})
	}
	return list, nil
}

func nonNil(shape []int) []int {
	if shape == nil {
		return []int{}
	}
	return shape
}
