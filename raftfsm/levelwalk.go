package raftfsm

import "reflect"

// Fields that need a level are looked for by reflection: a table cannot miss one of the many
// places that a type is in. Types that none is in are passed over.

// walk remembers which types have a field that needs a level.
type walk map[reflect.Type]bool

// need is the level of a field, and what people call it.
func need(t reflect.Type, f reflect.StructField) since { return newFields[t.Name()+"."+f.Name] }

// needsOf is the highest level that something set in a value needs.
func needsOf(v any) since {
	var out since
	walk{}.visit(reflect.ValueOf(v), &out)
	return out
}

func (w walk) visit(v reflect.Value, out *since) {
	if !v.IsValid() || !w.levelled(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			w.visit(v.Elem(), out)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			w.visit(v.Index(i), out)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			w.visit(it.Value(), out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			w.visitField(v.Field(i), need(v.Type(), v.Type().Field(i)), out)
		}
	}
}

// visitField looks at a field that needs something itself. What is in it has the better words.
func (w walk) visitField(v reflect.Value, itself since, out *since) {
	var inside since
	w.visit(v, &inside)
	if itself.level > inside.level && isSet(v) {
		inside = itself
	}
	if inside.level > out.level {
		*out = inside
	}
}

// isSet reports whether a field says anything: an empty list is as good as none.
func isSet(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() > 0
	}
	return !v.IsZero()
}

// withhold copies a value without fields above a level.
func withhold[T any](v T, level int) T {
	out := reflect.New(reflect.TypeFor[T]()).Elem()
	out.Set(walk{}.without(reflect.ValueOf(&v).Elem(), level))
	return out.Interface().(T)
}

func (w walk) without(v reflect.Value, level int) reflect.Value {
	if !v.IsValid() || !w.levelled(v.Type()) {
		return v
	}
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(w.without(v.Elem(), level))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		for i := range v.Len() {
			out.Index(i).Set(w.without(v.Index(i), level))
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMap(v.Type()))
		}
		for it := v.MapRange(); it.Next(); {
			out.SetMapIndex(it.Key(), w.without(it.Value(), level))
		}
	case reflect.Struct:
		w.fields(out, v, level)
	}
	return out
}

// fields copies those of a struct.
func (w walk) fields(out, v reflect.Value, level int) {
	for i := range v.NumField() {
		switch {
		case need(v.Type(), v.Type().Field(i)).level > level:
			out.Field(i).SetZero()
		case v.Type().Field(i).IsExported():
			out.Field(i).Set(w.without(v.Field(i), level))
		}
	}
}

// levelled reports whether a field that needs a level may be in values of a type.
func (w walk) levelled(t reflect.Type) bool {
	found, ok := w[t]
	if !ok {
		w[t] = false // a type that is in itself has no more for it
		found = w.look(t)
		w[t] = found
	}
	return found
}

func (w walk) look(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface:
		return true // whatever is in it
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return w.levelled(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if need(t, t.Field(i)).level > 0 || w.levelled(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}
